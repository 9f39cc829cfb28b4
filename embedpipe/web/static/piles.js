// Piles: where documents begin in a file that holds several. Cuts are moved, set and taken away; parts are written on request.
import { addressOf, change } from "./address.js";
import { client, get, post } from "./api.js";
import { instead, JobLine, Stale, useDerived } from "./derived.js";
import { Thumb } from "./grid.js";
import { count, say, share } from "./i18n.js";
import { useKeys } from "./keys.js";
import { askType, nameOf, NO_TYPE, takeBack } from "./labelling.js";
import { Empty, Failed, tellError, toast, Type, useLoaded, Waiting } from "./pieces.js";
import { inTurn, isReadOnly, reloadLabels, rowOf, store, typeNumber, useStore } from "./store.js";
import { html, useMemo, useState } from "./vendor/preact.js";

function List() {
  const loaded = useLoaded((signal) => get("/piles", {}, signal), []);
  if (loaded.error)
    return html`
      <${Failed} error=${loaded.error} retry=${loaded.again} />
    `;
  if (!loaded.value)
    return html`
      <${Waiting} />
    `;
  if (!loaded.value.documents?.length)
    return html`
      <${Empty} title=${say("No document has several pages.")} />
    `;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${say("Piles")}>
      <div class="body">
        <p class="dim">${say("Choose a file that may hold several documents.")}</p>
        <ul class="flips">
          ${loaded.value.documents.slice(0, 400).map(
            (one) => html`
              <li key=${one.document}>
                <a class="flip card" href=${addressOf("piles", { document: one.document })}>
                  <span class="front"><${Thumb} document=${one.document} /></span>
                  <span class="told">
                    <bdi class="name">${one.name}</bdi>
                    <span class="dim small number">${say("{} pages", count(one.pages))}</span>
                  </span>
                </a>
              </li>
            `,
          )}
        </ul>
      </div>
    </div>
  `;
}

const SURE = 0.5; // parts that are less probably exactly one document are marked

// Parts between cuts; a part whose ends are those of the server's keeps its type.
function partsOf(cuts, pages, types, known) {
  const ends = [...cuts].sort((a, b) => a - b).concat(pages);
  return ends.map((last, number) => {
    const first = number ? ends[number - 1] + 1 : 1;
    const same =
      known.find((part) => part.first === first) || known.find((part) => part.first <= first && part.last >= first);
    const isWhole = same && same.first === first && same.last === last;
    return {
      first,
      last,
      type: types.get(first) || same?.type || null,
      confidence: isWhole && !types.has(first) ? same.confidence : null,
      whole: isWhole ? same.whole : null,
    };
  });
}

const written = (cuts) => [...cuts].sort((a, b) => a - b).join(",") || "-";

function Gap({ after, isCut, probability, onToggle, isHere, onFocus }) {
  return html`
    <button
      class=${`gap-button ${isCut ? "cut" : ""}`}
      data-after=${after}
      aria-pressed=${isCut}
      aria-current=${isHere ? "true" : undefined}
      onFocus=${onFocus}
      onClick=${onToggle}
      title=${probability === undefined ? "" : say("a document begins here: {}", share(probability))}
      aria-label=${isCut ? say("Cut after page {}", after) : say("No cut after page {}", after)}
    >
      <i aria-hidden="true"></i>
      <span class="small number">${probability === undefined ? "" : share(probability)}</span>
    </button>
  `;
}

function Pile({ value, values }) {
  const { document: id, pages } = value;
  const proposed = value.parts.map(({ pages: [first, last], type, confidence, boundary_confidence: sure, whole_confidence: whole }) => ({
    first,
    last,
    type,
    confidence,
    sure,
    whole,
  }));
  const fromParts = proposed.map((part) => part.last).filter((last) => last < pages);
  const cuts = useMemo(
    () =>
      new Set(
        values.cuts
          ? values.cuts === "-"
            ? []
            : values.cuts
                .split(",")
                .map(Number)
                .filter((after) => after >= 1 && after < pages)
          : fromParts,
      ),
    [values.cuts, value],
  );
  const [types, setTypes] = useState(() => new Map());
  const [here, setHere] = useState(1);
  const [job, setJob] = useState(null);
  const probability = new Map(proposed.map((part) => [part.first - 1, part.sure]));
  const parts = partsOf(cuts, pages, types, proposed);
  const set = (next) => change({ cuts: written(next) });
  const toggle = (after) => {
    const next = new Set(cuts);
    if (!next.delete(after)) next.add(after);
    set(next);
  };
  const moveCut = (step) => {
    const to = here + step;
    if (to < 1 || to >= pages) return;
    if (cuts.has(here) && !cuts.has(to)) {
      const next = new Set(cuts);
      next.delete(here);
      next.add(to);
      set(next);
    }
    setHere(to);
    document.querySelector(`[data-after="${to}"]`)?.focus();
  };
  const stepTo = (step) => {
    const to = Math.max(1, Math.min(pages - 1, here + step));
    setHere(to);
    document.querySelector(`[data-after="${to}"]`)?.focus();
  };
  const typed = (part) =>
    askType({
      title: say("Type of pages {} to {}", part.first, part.last),
      done: (type) => setTypes((before) => new Map(before).set(part.first, type)),
    });
  const confirm = async () => {
    const labels = parts
      .filter((part) => part.type)
      .flatMap((part) =>
        Array.from({ length: part.last - part.first + 1 }, (_, step) => ({
          document: id,
          page: part.first + step,
          type: part.type,
        })),
      );
    try {
      const done = await inTurn(() => post("/labels", { labels, state: "checked", client }));
      reloadLabels().catch(tellError);
      toast(say("{} pages labelled with the types of their parts", count(done.changed)), {
        action: takeBack,
        label: say("Undo"),
      });
    } catch (error) {
      tellError(error);
    }
  };
  const write = async () => {
    try {
      setJob(
        (await post(`/piles/${id}/write`, { parts: parts.map(({ first, last, type }) => ({ first, last, type })) }))
          .job,
      );
    } catch (error) {
      tellError(error);
    }
  };
  useKeys({
    ArrowRight: () => stepTo(1),
    ArrowLeft: () => stepTo(-1),
    "shift+ArrowRight": () => moveCut(1),
    "shift+ArrowLeft": () => moveCut(-1),
    x: () => toggle(here),
    c: confirm,
    Escape: () => change({ document: "", cuts: "" }),
  });
  const row = rowOf(id);
  const { state, message, result } = store.jobs.get(job?.job) || {};
  const files = result?.files || [];
  return html`
    <div class="tools">
      <a class="button" href=${addressOf("piles")}>←</a>
      <h2><bdi>${row >= 0 ? store.documents.name[row] : id}</bdi></h2>
      <span class="dim number" role="status">
        ${parts.length === 1 ? say("one document") : say("{} documents", count(parts.length))}${` · ${say("{} pages", count(pages))}`}
      </span>
      <span class="gap"></span>
      <button onClick=${() => change({ cuts: "" })} disabled=${!values.cuts}>${say("Cuts as proposed")}</button>
      ${
        !isReadOnly() &&
        html`
          <button class="main" onClick=${confirm}>
            <kbd>c</kbd>
            ${say("Confirm the types")}
          </button>
          <button onClick=${write}>${say("Write the parts")}</button>
        `
      }
    </div>
    ${
      value.note &&
      html`
        <div class="notice"><bdi>${value.note}</bdi></div>
      `
    }
    <p class="hint dim small">
      ${say("Click between two pages to cut or to merge; arrows go along, x cuts or merges, Shift and an arrow move a cut. Nothing is written until you say so.")}
    </p>
    ${
      job &&
      html`
        <div class="notice">
          ${
            state === "done"
              ? html`
                  ${files.length > 0 && say("{} parts are written to {}", count(files.length), files[0].file.replace(/[\\/][^\\/]*$/, ""))}
                  ${(result?.not_written || []).map(
                    ({ first, reason }) => html`
                      <p class="down">${say("The part from page {} is not written:", first)} <bdi>${reason}</bdi></p>
                    `,
                  )}
                `
              : state === "failed"
                ? html`
                    <bdi>${message}</bdi>
                  `
                : html`
                    <${JobLine} job=${job} />
                  `
          }
        </div>
      `
    }
    <div class="scroll pile" tabindex="0" role="region" aria-label=${say("Pages and cuts")}>
      ${parts.map(
        (part) => html`
          <section key=${part.first} class="part" aria-label=${say("Pages {} to {}", part.first, part.last)}>
            <header>
              <button class="plain" disabled=${isReadOnly()} onClick=${() => typed(part)}>
                <${Type}
                  name=${part.type === NO_TYPE ? nameOf(part.type) : part.type || ""}
                  number=${typeNumber(part.type)}
                />
              </button>
              <span class="dim small number">
                ${[part.first === part.last ? say("page {}", part.first) : `${part.first}–${part.last}`, share(part.confidence)].filter(Boolean).join(" · ")}
                ${
                  part.whole !== null &&
                  part.whole < SURE &&
                  html`
                    ${" "}
                    <span class="mark ambiguous">${say("one document? {}", share(part.whole))}</span>
                  `
                }
              </span>
            </header>
            <div class="leaves">
              ${Array.from({ length: part.last - part.first + 1 }, (_, step) => {
                const page = part.first + step;
                return html`
                  <span key=${page} class="leaf">
                    <a href=${addressOf("heap", { doc: id, page })} aria-label=${say("Page {}", page)}>
                      <${Thumb} document=${id} page=${page} />
                    </a>
                    <span class="small dim number">${page}</span>
                  </span>
                  ${
                    page < pages &&
                    html`
                      <${Gap}
                        key=${`gap-${page}`}
                        after=${page}
                        isCut=${cuts.has(page)}
                        probability=${probability.get(page)}
                        isHere=${here === page}
                        onFocus=${() => setHere(page)}
                        onToggle=${() => {
                          setHere(page);
                          toggle(page);
                        }}
                      />
                    `
                  }
                `;
              })}
            </div>
          </section>
        `,
      )}
    </div>
  `;
}

export function Piles({ values }) {
  useStore();
  return values.document
    ? html`
        <${OnePile} key=${values.document} values=${values} />
      `
    : html`
        <${List} />
      `;
}

function OnePile({ values }) {
  const loaded = useDerived("piles", store.version.classifier && "/piles", { document: values.document });
  if (!store.version.classifier)
    return html`<${Empty} title=${say("Without a classifier, nobody knows where documents begin.")}><p>${say("Label a few documents of each type in the families or the queue, then fit.")}</p><a class="button" href=${addressOf("refit")}>${say("Refit")}</a></${Empty}>`;
  return (
    instead(loaded, say("Where documents begin is being looked for.")) ||
    html`
      <${Stale} value=${loaded.value} />
      <${Pile} value=${loaded.value} values=${values} />
    `
  );
}
