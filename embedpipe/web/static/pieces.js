// Parts that several views show: pictures of pages, types, marks of state, a bar, dialogs and short messages.
import { useEvents } from "./store.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { say } from "./i18n.js";

const HUES = 7;

// A type keeps its colour and shape in all views: they follow from its place in the list of types.
export const hueOf = (number) => (number < 0 ? "none" : number >= 3 * HUES ? "hue7" : `hue${number % HUES}`);
const SHAPES = ["", "square", "diamond"];
export const shapeOf = (number) => (number < 0 || number >= 3 * HUES ? "" : SHAPES[Math.floor(number / HUES)]);

export function Type({ name, number = -1 }) {
  return html`
    <span class="type">
      <i class=${`${hueOf(number)} ${shapeOf(number)}`} aria-hidden="true"></i>
      <bdi>${name || say("no type")}</bdi>
    </span>
  `;
}

const STATES = {
  ok: () => say("ok"),
  ambiguous: () => say("ambiguous"),
  novel: () => say("novel"),
  checked: () => say("checked"),
  suggested: () => say("suggested"),
  partly: () => say("partly checked"),
  confirmed: () => say("kept as it was"),
  queued: () => say("waiting"),
  running: () => say("running"),
  done: () => say("done"),
  failed: () => say("failed"),
  cancelled: () => say("cancelled"),
  interrupted: () => say("interrupted"),
  blank: () => say("blank"),
};
export const stateName = (state) => (STATES[state] ? STATES[state]() : state);
export const Mark = ({ state }) =>
  state
    ? html`
        <span class=${`mark ${state}`}>${stateName(state)}</span>
      `
    : null;

export const Bar = ({ share, kind = "", label }) => html`
  <span class="bar" role="img" aria-label=${label || `${Math.round(100 * share)} %`}>
    <i class=${kind} style=${{ width: `${Math.max(0, Math.min(100, 100 * share))}%` }}></i>
  </span>
`;

// Figures with their names, those that are there, with a mark and what they mean: [["Margin", "0.21", "dim", "…"]].
export const Facts = ({ facts, kind = "" }) => html`
  <dl class=${`facts ${kind}`}>
    ${facts
      .filter(([, value]) => value)
      .map(
        ([name, value, mark = "", meaning]) => html`
          <div key=${name} title=${meaning}>
            <dt>${name}</dt>
            <dd class=${mark}>${value}</dd>
          </div>
        `,
      )}
  </dl>
`;

// Large pictures that are here already; those to come are fetched one after the other, so that they do not take all
// connections that a browser has.
const fetched = new Set();
let coming = [];
let isFetching = false;
function fetchNext() {
  const src = coming.shift();
  isFetching = Boolean(src);
  if (!src) return;
  const image = new Image();
  image.onload = () => {
    fetched.add(src);
    fetchNext();
  };
  image.onerror = fetchNext;
  image.src = src;
}
export function prefetchLarge(addresses) {
  coming = addresses.filter((src) => !fetched.has(src));
  if (!isFetching) fetchNext();
}

// A page; the small picture stands for the large one until that is there, so that nothing is ever blank.
export function Picture({ src, small, alt = "", ...rest }) {
  const [failed, setFailed] = useState("");
  const [loaded, setLoaded] = useState("");
  const isLoaded = loaded === src || fetched.has(src);
  useEffect(() => {
    if (!small || !src || isLoaded) return undefined;
    const image = new Image();
    image.onload = () => setLoaded(src);
    image.src = src;
    return () => {
      image.onload = null;
    };
  }, [src, small]);
  const shown = small && !isLoaded ? small : src;
  return html`
    <span class="picture" ...${rest}>
      ${
        !shown || failed === shown
          ? html`
              <span class="none">${say("no picture")}</span>
            `
          : html`
              <img src=${shown} alt=${alt} decoding="async" draggable=${false} onError=${() => setFailed(shown)} />
            `
      }
    </span>
  `;
}

const ICONS = {
  heap: "M4 4h6v7H4zM14 4h6v7h-6zM4 14h6v6H4zM14 14h6v6h-6z",
  families: "M8 8h12v12H8zM5 16H4V4h12v1",
  queue: "M4 5h11M4 10h11M4 15h7M15 17l2.5 2.5L22 14",
  map: "M5 17.5h.01M8 9h.01M12 14h.01M17 7h.01M19 16h.01M14 18.5h.01M6 5h.01M13 5.5h.01M3.5 12h.01M18 11h.01",
  lookalikes: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L21 21",
  twins: "M4 6h9v13H4zM11 5V4h9v13h-4",
  confusion: "M4 4h16v16H4zM4 9.3h16M4 14.6h16M9.3 4v16M14.6 4v16",
  piles: "M4 7h16M4 17h16M3 12h3M9 12h2M14 12h2M19 12h2",
  intake: "M12 4v10M8 10l4 4 4-4M4 16v4h16v-4",
  labels: "M4 4h8l8 8-8 8-8-8zM8.5 8.5h.01",
  refit: "M20 11a8 8 0 0 0-14.5-4L3 9.5M3 5v4.5h4.5M4 13a8 8 0 0 0 14.5 4l2.5-2.5M21 19v-4.5h-4.5",
  undo: "M4 9h10a6 6 0 0 1 0 12h-3M4 9l4-4M4 9l4 4",
  redo: "M20 9H10a6 6 0 0 0 0 12h3M20 9l-4-4M20 9l-4 4",
  close: "M6 6l12 12M18 6L6 18",
  keys: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
};
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" stroke-width=${name === "map" ? 3 : 1.7}>
    <path d=${ICONS[name]} />
  </svg>
`;

export const Empty = ({ title, children }) => html`
  <div class="empty">
    <h2>${title}</h2>
    ${children}
  </div>
`;
export const Waiting = () => html`
  <div class="empty" role="status">${say("Loading …")}</div>
`;
export const Failed = ({ error, retry }) => html`
  <div class="empty" role="alert">
    <h2>${say("This did not work.")}</h2>
    <p><bdi>${error.message}</bdi></p>
    ${
      retry &&
      html`
        <button onClick=${retry}>${say("Try again")}</button>
      `
    }
  </div>
`;

// The browser's own dialog keeps the focus inside and closes with Escape.
export function Dialog({ title, onClose, children }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.isConnected && before.focus?.();
  }, []);
  return html`
    <dialog
      ref=${box}
      aria-label=${title}
      onClose=${onClose}
      onClick=${(event) => event.target === box.current && onClose()}
    >
      <div class="form">
        <h2>${title}</h2>
        ${children}
      </div>
    </dialog>
  `;
}

// Short messages at the foot of the page, with one thing to do about them.
let told = [];
let nextToast = 1;
const toastListeners = new Set();
export function toast(message, { action, label, bad = false, seconds = bad ? 12 : 6 } = {}) {
  const number = nextToast++;
  told = [...told.slice(-2), { number, message, action, label, bad }];
  const drop = () => {
    told = told.filter((one) => one.number !== number);
    for (const listener of toastListeners) listener(told);
  };
  told[told.length - 1].drop = drop;
  for (const listener of toastListeners) listener(told);
  setTimeout(drop, 1000 * seconds);
}
// What was offered to be taken back is not the last thing any more.
export const dropOffers = () => told.filter((one) => one.action).forEach((one) => one.drop());
export const tellError = (error) => error.name !== "AbortError" && toast(error.message, { bad: true });

// Of labels: what was said to be done is not.
export function tellUnsaved(error) {
  dropOffers();
  toast(say("Not saved: {}", error.message), { bad: true });
}

export function Toasts() {
  const [shown, set] = useState(told);
  useEffect(() => {
    toastListeners.add(set);
    return () => toastListeners.delete(set);
  }, []);
  return html`
    <div id="toasts" role="status">
      ${shown.map(
        (one) => html`
          <div key=${one.number} class=${one.bad ? "bad" : ""}>
            <bdi>${one.message}</bdi>
            ${
              one.action &&
              html`
                <button
                  onClick=${() => {
                    one.drop();
                    one.action();
                  }}
                >
                  ${one.label}
                </button>
              `
            }
            <button onClick=${one.drop} aria-label=${say("Close")}>✕</button>
          </div>
        `,
      )}
    </div>
  `;
}

// What a view loads: its value, its error, and a way to ask again; an answer that comes too late is dropped. What failed
// is asked for again when the server is back.
export function useLoaded(load, needs) {
  const [state, set] = useState({ value: undefined, error: null, busy: true });
  const [round, again] = useState(0);
  useEffect(() => {
    const control = new AbortController();
    set((before) => ({ ...before, busy: true, error: null }));
    load(control.signal).then(
      (value) => control.signal.aborted || set({ value, error: null, busy: false }),
      (error) => control.signal.aborted || set((before) => ({ ...before, error, busy: false })),
    );
    return () => control.abort();
  }, [...needs, round]);
  const askAgain = () => again((number) => number + 1);
  useEvents([], () => state.error && askAgain());
  return { ...state, again: askAgain };
}

// A file that the page makes or fetches is given to the browser to keep.
export function download(name, content, kind = "text/csv;charset=utf-8") {
  const link = document.createElement("a");
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: kind }));
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// A cell that a spreadsheet would run as a formula gets an apostrophe, which `label` takes away again.
export function csv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return `"${(/^[=+\-@\t\r']/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  return `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}
