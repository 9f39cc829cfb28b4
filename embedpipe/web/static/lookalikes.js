// Look-alikes of a page of the store, or of a file that is dropped, pasted or chosen; also of a box on the page.
import { addressOf, change, go } from "./address.js";
import { large, post, send, small } from "./api.js";
import { Thumb } from "./grid.js";
import { FileButton, useDrop } from "./files.js";
import { decimal, say } from "./i18n.js";
import { nameOf } from "./labelling.js";
import { Empty, Failed, Picture, Type, useLoaded, Waiting } from "./pieces.js";
import { rowOf, store, typeNumber, useStore } from "./store.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

const PARTS = {
  "": () => say("whole page"),
  "0,0,1,0.2": () => say("top of the page"),
  "0,0.2,1,0.8": () => say("middle of the page"),
  "0,0.8,1,1": () => say("foot of the page"),
};
const pictures = new WeakMap(); // file to the pictures of its pages, which the server draws
const LEAST = 0.02; // of the page: a smaller box was a click
const round = (value) => Math.round(1000 * Math.max(0, Math.min(1, value))) / 1000;

const boxOf = (text) => {
  const box = (text || "").split(",").map(Number);
  return box.length === 4 && box.every(Number.isFinite) ? box : null;
};

// The page with its box, which is drawn with the mouse or the finger.
function Marked({ src, smaller = "", box, onBox }) {
  const sheet = useRef(null);
  const [drawn, setDrawn] = useState(null);
  const from = useRef(null);
  const spot = (event) => {
    const edge = sheet.current.getBoundingClientRect();
    return [(event.clientX - edge.left) / edge.width, (event.clientY - edge.top) / edge.height];
  };
  const corners = (event) => {
    const [x, y] = spot(event),
      [a, b] = from.current;
    return [Math.min(x, a), Math.min(y, b), Math.max(x, a), Math.max(y, b)].map(round);
  };
  const down = (event) => {
    from.current = spot(event);
    sheet.current.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const moved = (event) => {
    if (from.current) setDrawn(corners(event));
  };
  const up = (event) => {
    if (!from.current) return;
    const made = corners(event);
    from.current = null;
    setDrawn(null);
    onBox(made[2] - made[0] > LEAST && made[3] - made[1] > LEAST ? made.join(",") : "");
  };
  const shown = drawn || box;
  return html`
    <div class="marked" ref=${sheet} onPointerDown=${down} onPointerMove=${moved} onPointerUp=${up}>
      <${Picture} src=${src} small=${smaller} alt=${say("The page that is asked about")} />
      ${
        shown &&
        html`
          <div
            class="boxed"
            style=${{ left: `${100 * shown[0]}%`, top: `${100 * shown[1]}%`, width: `${100 * (shown[2] - shown[0])}%`, height: `${100 * (shown[3] - shown[1])}%` }}
          ></div>
        `
      }
    </div>
  `;
}

function Found({ one }) {
  const row = rowOf(one.document);
  const name = one.path.split(/[\\/]/).pop();
  return html`
    <li>
      <a
        href=${addressOf("lookalikes", { document: one.document, page: one.page })}
        aria-label=${say("Look-alikes of {}, page {}", name, one.page)}
      >
        <${Thumb} document=${one.document} page=${one.page} />
      </a>
      <b class="number score">${decimal(one.score, 3)}</b>
      <${Type} name=${nameOf(one.label || "")} number=${typeNumber(one.label)} />
      <a class="name small" href=${addressOf("heap", { doc: one.document, page: one.page })} title=${one.path}>
        <bdi>${row >= 0 ? store.documents.name[row] : name}</bdi>
      </a>
      <span class="dim small">${say("page {}", one.page)}</span>
    </li>
  `;
}

const flag = (text, fallback) => (text === undefined ? fallback : text === "1");

export function Lookalikes({ values }) {
  useStore();
  const [file, setFile] = useState(null);
  const page = Number(values.page) || 1;
  const box = boxOf(values.box);
  const asked = {
    k: Number(values.k) || 24,
    by: values.by || "pictures",
    type: values.type || undefined,
    other_documents: flag(values.others, true),
  };
  const isAsked = Boolean(file || values.document);
  const loaded = useLoaded(
    async (signal) => {
      if (file) {
        const picture = !pictures.get(file)?.has(page);
        const answer = await send(
          "/similar",
          { name: file.name, page, ...asked, box: box?.join(","), picture },
          file,
          { signal },
        );
        if (picture) pictures.set(file, (pictures.get(file) || new Map()).set(page, answer.query.picture));
        return answer;
      }
      return values.document
        ? post("/similar", { document: values.document, page, ...asked, ...(box ? { box } : {}) }, signal)
        : null;
    },
    [file, values.document, page, values.box, values.by, values.type, values.others, values.k],
  );
  const take = (files) => {
    if (files?.[0]) {
      setFile(files[0]);
      go("lookalikes", {});
    }
  };
  useEffect(() => {
    if (values.document) setFile(null);
  }, [values.document]);
  useEffect(() => {
    const pasted = (event) => {
      if (event.clipboardData?.files.length) {
        event.preventDefault();
        take(event.clipboardData.files);
      }
    };
    document.addEventListener("paste", pasted);
    return () => document.removeEventListener("paste", pasted);
  }, []);
  const picture = file ? pictures.get(file)?.get(page) : large(values.document, page);
  const row = values.document ? rowOf(values.document) : -1;
  const pages = row >= 0 ? store.documents.pages[row] : 1;
  const [over, drop] = useDrop((transfer) => take(transfer.files));
  const choose = html`
    <${FileButton} name="query" take=${take}>${say("Choose a file")}</${FileButton}>
  `;
  if (!isAsked) {
    return html`<div class=${`lookalikes none ${over}`} ...${drop}><${Empty} title=${say("Which pages look like this one?")}>
      <p>${say("Drop or paste a PDF, a scan or a picture here, or open a document and press “Look-alikes”. The file is compared and not kept.")}</p>${choose}<a class="button" href=${addressOf("heap")}>${say("Choose a page from the heap")}</a></${Empty}></div>`;
  }
  return html`
    <div class=${`lookalikes ${over}`} ...${drop}>
      <section class="query" aria-label=${say("The page that is asked about")}>
        <header>
          <h2><bdi>${file ? file.name : row >= 0 ? store.documents.name[row] : values.document}</bdi></h2>
          <span class="dim small">${say("page {}", page)}</span>
        </header>
        ${
          picture
            ? html`
                <${Marked}
                  key=${picture}
                  src=${picture}
                  smaller=${file ? "" : small(values.document, page)}
                  box=${box}
                  onBox=${(made) => change({ box: made })}
                />
              `
            : loaded.busy
              ? html`
                  <${Waiting} />
                `
              : !loaded.error &&
                html`
                  <p class="dim">${say("This file cannot be shown.")}</p>
                `
        }
        <div class="parts" role="group" aria-label=${say("What is compared")}>
          ${Object.entries(PARTS).map(
            ([part, text]) => html`
              <button key=${part} aria-pressed=${(values.box || "") === part} onClick=${() => change({ box: part })}>
                ${text()}
              </button>
            `,
          )}
        </div>
        <p class="dim small">${say("Draw a box on the page to compare only that.")}</p>
        ${
          (pages > 1 || file) &&
          html`
            <div class="actions">
              <button disabled=${page < 2} onClick=${() => change({ page: page - 1 })}>←</button>
              <span class="number">${file ? say("page {}", page) : say("page {} of {}", page, pages)}</span>
              <button disabled=${!file && page >= pages} onClick=${() => change({ page: page + 1 })}>→</button>
            </div>
          `
        }
        <div class="actions">
          ${choose}${
            values.document &&
            html`
              <a class="button" href=${addressOf("heap", { doc: values.document, page })}>${say("Show in the heap")}</a>
            `
          }
        </div>
      </section>
      <section class="found" aria-label=${say("What looks like it")}>
        <div class="tools">
          <label>
            ${say("Compare")}
            <select value=${asked.by} onChange=${(event) => change({ by: event.target.value })}>
              <option value="pictures">${say("pictures")}</option>
              <option value="words">${say("words")}</option>
              <option value="both">${say("both")}</option>
            </select>
          </label>
          <label>
            ${say("Type")}
            <select value=${values.type || ""} onChange=${(event) => change({ type: event.target.value })}>
              <option value="">${say("all types")}</option>
              ${store.documents.types.map(
                (type) => html`
                  <option key=${type} value=${type}>${nameOf(type)}</option>
                `,
              )}
            </select>
          </label>
          <label>
            <input
              type="checkbox"
              checked=${asked.other_documents}
              onChange=${(event) => change({ others: event.target.checked ? "" : "0" })}
            />
            ${" "}${say("other documents only")}
          </label>
        </div>
        ${
          loaded.error
            ? html`
                <${Failed} error=${loaded.error} retry=${loaded.again} />
              `
            : !loaded.value
              ? html`
                  <${Waiting} />
                `
              : loaded.value.neighbours.length
                ? html`
                    <ol class=${`looks wide ${loaded.busy ? "busy" : ""}`}>
                      ${loaded.value.neighbours.map(
                        (one) => html`
                          <${Found} key=${`${one.document}-${one.page}`} one=${one} />
                        `,
                      )}
                    </ol>
                  `
                : html`
                    <${Empty} title=${say("Nothing was found.")} />
                  `
        }
      </section>
    </div>
  `;
}
