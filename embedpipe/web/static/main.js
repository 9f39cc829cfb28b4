// The frame around the views: rail, head, keys that work everywhere, and what is said when the server is away.
import { addressOf, FIRST, go, useAddress } from "./address.js";
import { get, post, whenUnauthorized } from "./api.js";
import { count, language, LANGUAGES, onLanguage, say, use } from "./i18n.js";
import { toGo, useKeys } from "./keys.js";
import { doAgain, takeBack, TypeDialogs } from "./labelling.js";
import { Dialog, Empty, Failed, Icon, Toasts, Waiting } from "./pieces.js";
import { carried, fromAddress } from "./selection.js";
import { counts, isReadOnly, listen, store, toAsk, useStore } from "./store.js";
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./vendor/preact.js";
import { Confusion } from "./confusion.js";
import { Families } from "./families.js";
import { Heap } from "./heap.js";
import { Intake } from "./intake.js";
import { Labels } from "./labels.js";
import { Lookalikes } from "./lookalikes.js";
import { MapView } from "./map.js";
import { Piles } from "./piles.js";
import { Queue } from "./queue.js";
import { Refit } from "./refit.js";
import { Twins } from "./twins.js";

const VIEWS = [
  ["heap", () => say("Heap"), Heap],
  ["families", () => say("Families"), Families],
  ["queue", () => say("Queue"), Queue],
  ["map", () => say("Map"), MapView],
  null,
  ["lookalikes", () => say("Look-alikes"), Lookalikes],
  ["twins", () => say("Twins"), Twins],
  ["piles", () => say("Piles"), Piles],
  null,
  ["intake", () => say("Intake"), Intake],
  ["labels", () => say("Labels"), Labels],
  ["refit", () => say("Refit"), Refit],
  ["confusion", () => say("Mistakes"), Confusion],
];
const KEYS = [
  [
    "g + h f q m k t p i l r c",
    () => say("go to heap, families, queue, map, look-alikes, twins, piles, intake, labels, refit, mistakes"),
  ],
  ["/", () => say("search")],
  ["l", () => say("label what is chosen")],
  ["Enter", () => say("open the document")],
  ["Ctrl Z", () => say("take back")],
  ["Ctrl Shift Z", () => say("do again")],
  ["?", () => say("these keys")],
];
const SELECTS = new Set(["heap", "map"]);
const LETTERS = { lookalikes: "k", confusion: "c" }; // keys after "g" that are not the first letter
const visit = (name) => go(name, SELECTS.has(name) ? carried() : {});
toGo(Object.fromEntries(VIEWS.filter(Boolean).map(([name]) => [LETTERS[name] || name[0], () => visit(name)])));

function Rail({ view }) {
  const { documents } = store;
  const rail = useRef(null);
  // On a phone the rail is wider than the screen.
  useEffect(() => rail.current.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "center" }), [view]);
  const sizes = { heap: documents?.count, queue: documents ? toAsk() : undefined };
  return html`
    <nav id="rail" ref=${rail} aria-label=${say("Views")}>
      <div class="brand">
        <img src="/static/icon.svg" alt="" />
        embedpipe
      </div>
      ${VIEWS.map((one) =>
        one === null
          ? html`
              <hr />
            `
          : html`
              <a
                key=${one[0]}
                href=${addressOf(one[0])}
                aria-current=${one[0] === view ? "page" : undefined}
                onClick=${(event) => {
                  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
                  event.preventDefault();
                  visit(one[0]);
                }}
              >
                <${Icon} name=${one[0]} />
                <span>${one[1]()}</span>
                ${
                  sizes[one[0]] !== undefined &&
                  html`
                    <span class="number">${count(sizes[one[0]])}</span>
                  `
                }
              </a>
            `,
      )}
      <div class="foot small dim">
        ${
          store.version?.classifier &&
          html`
            <span>
              <bdi>${store.version.classifier.name}</bdi>
              ${" "}${say("version {}", store.version.classifier.version)}
            </span>
          `
        }
        ${
          store.version &&
          html`
            <span>embedpipe ${store.version.version}</span>
          `
        }
      </div>
    </nav>
  `;
}

function Head({ help }) {
  const found = counts();
  const running = [...store.jobs.values()].filter((job) => job.state === "running");
  const { can_undo: canUndo, can_redo: canRedo } = store.history;
  return html`
    <header id="head">
      <h1>
        <bdi>
          ${store.version ? store.version.artifacts.split(/[\\/]/).filter(Boolean).pop() || "embedpipe" : "embedpipe"}
        </bdi>
      </h1>
      ${
        found.total > 0 &&
        html`
          <div
            class="progress"
            title=${say("{} checked, {} partly checked, {} suggested, of {} documents", count(found.checked), count(found.partly), count(found.suggested), count(found.total))}
          >
            <span class="bar" aria-hidden="true">
              <i style=${{ width: `${(100 * found.checked) / found.total}%` }}></i>
              <i class="suggested" style=${{ width: `${(100 * found.suggested) / found.total}%` }}></i>
            </span>
            <span class="number small">${say("{} of {} checked", count(found.checked), count(found.total))}</span>
          </div>
        `
      }
      <div class="right">
        ${running.map(
          (job) => html`
            <a key=${job.job} class="button small" href=${addressOf("intake")}>
              <span class="spinner" aria-hidden="true"></span>
              <bdi class="wide">${job.title}</bdi>
              ${
                job.progress?.total
                  ? html`
                      <span class="number">${Math.floor((100 * job.progress.done) / job.progress.total)} %</span>
                    `
                  : ""
              }
            </a>
          `,
        )}
        ${
          !isReadOnly() &&
          html`
            <button class="plain" disabled=${!canUndo} onClick=${takeBack} title="Ctrl+Z" aria-label=${say("Undo")}>
              <${Icon} name="undo" />
            </button>
            <button
              class="plain"
              disabled=${!canRedo}
              onClick=${doAgain}
              title="Ctrl+Shift+Z"
              aria-label=${say("Redo")}
            >
              <${Icon} name="redo" />
            </button>
          `
        }
        <button class="plain wide" onClick=${help} title="?" aria-label=${say("Keys")}><${Icon} name="keys" /></button>
        <select aria-label=${say("Language")} value=${language()} onChange=${(event) => use(event.target.value, get)}>
          ${Object.entries(LANGUAGES).map(
            ([tag, name]) => html`
              <option value=${tag}>${name}</option>
            `,
          )}
        </select>
      </div>
    </header>
  `;
}

function Token() {
  const [wrong, setWrong] = useState("");
  const enter = async (event) => {
    event.preventDefault();
    try {
      await post("/session", { token: new FormData(event.target).get("token").trim() });
      location.reload();
    } catch (error) {
      setWrong(error.message);
    }
  };
  return html`<${Empty} title=${say("This server asks for its token.")}><p>${say("It was printed where embedpipe serve was started.")}</p>
    <form onSubmit=${enter}><input type="password" name="token" aria-label=${say("Token")} required autofocus />${" "}<button class="main">${say("Open")}</button></form>
    ${
      wrong &&
      html`
        <p role="alert" class="down"><bdi>${wrong}</bdi></p>
      `
    }</${Empty}>`;
}

function View({ now }) {
  const [error, reset] = useErrorBoundary((problem) => console.error(problem));
  const found = VIEWS.find((one) => one && one[0] === now.view) || VIEWS.find((one) => one && one[0] === FIRST);
  if (error)
    return html`
      <${Failed} error=${error} retry=${reset} />
    `;
  if (!store.ready)
    return html`
      <${Waiting} />
    `;
  if (!store.documents.count && !["intake"].includes(found[0])) {
    return html`<${Empty} title=${say("There are no documents yet.")}><p>${say("Add a folder or drop files: embedpipe reads them once, and all else is here.")}</p>
      <a class="button" href=${addressOf("intake")}>${say("Add documents")}</a></${Empty}>`;
  }
  return html`
    <${found[2]} values=${now.values} />
  `;
}

function Page() {
  const now = useAddress();
  const [, translate] = useState(0);
  const [locked, lock] = useState(false);
  const [helping, help] = useState(false);
  const main = useRef(null);
  useStore();
  useEffect(() => onLanguage(() => translate((number) => number + 1)), []);
  useEffect(() => whenUnauthorized(() => lock(true)), []);
  useEffect(fromAddress, [now, store.ready]);
  const found = VIEWS.find((one) => one && one[0] === now.view) || VIEWS[0];
  useEffect(() => {
    document.title = `${found[1]()} · embedpipe`;
  }, [now.view, language()]);
  useKeys(
    {
      "ctrl+z": takeBack,
      "ctrl+shift+Z": doAgain,
      "ctrl+Z": doAgain,
      "ctrl+y": doAgain,
      "?": () => help(true),
      "/": () => {
        const field = main.current.querySelector("input[type=search]");
        if (!field) return false;
        field.focus();
        field.select();
        return true;
      },
    },
    { below: true },
  );
  return html`
    <${Rail} view=${found[0]} />
    <${Head} help=${() => help(true)} />
    <main id="main" tabindex="-1" ref=${main}>
      ${
        !store.online &&
        html`
          <div class="notice bad" role="alert">
            ${say("The server does not answer. What you have done is kept there; this page goes on as soon as it is back.")}
          </div>
        `
      }
      ${
        isReadOnly() &&
        html`
          <div class="notice">${say("This server is read-only: labels and jobs are switched off.")}</div>
        `
      }
      ${
        locked
          ? html`
              <${Token} />
            `
          : html`
              <${View} key=${found[0]} now=${now} />
            `
      }
    </main>
    <${TypeDialogs} />
    ${
      helping &&
      html`<${Dialog} title=${say("Keys")} onClose=${() => help(false)}><div class="keys">${KEYS.map(
        ([key, text]) => html`
          <kbd>${key}</kbd>
          <span>${text()}</span>
        `,
      )}</div>
      <p class="dim small">${say("Keys of a view stand beside what they do.")}</p><div class="row"><button onClick=${() => help(false)}>${say("Close")}</button></div></${Dialog}>`
    }
    <${Toasts} />
  `;
}

async function start() {
  const token = /^#token=(.+)$/.exec(location.hash);
  if (token) {
    history.replaceState(null, "", location.pathname);
    await post("/session", { token: decodeURIComponent(token[1]) }).catch(() => {});
  }
  await use(language(), get).catch(() => {});
  render(
    html`
      <${Page} />
    `,
    document.getElementById("page"),
  );
  listen();
}

start();
