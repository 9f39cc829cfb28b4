// Giving a type to documents, by a dialog that any view opens, and taking it back.
import { isReadOnly, redo, setLabels, sizesOfTypes, store, undo, useStore } from "./store.js";
import { count, say } from "./i18n.js";
import { Dialog, dropOffers, tellError, tellUnsaved, toast, Type } from "./pieces.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";

export const NO_TYPE = "none"; // as a label: none of the types

let open = null;
let show = () => {};
// Asks for a type: askType({ title, done(type) }).
export function askType(request) {
  if (isReadOnly()) return toast(say("This server is read-only."), { bad: true });
  open = request;
  return show(open);
}

// Gives documents a label, and says so with the way back; or says why not, and returns false.
export const label = (ids, type, { state = "checked" } = {}) =>
  give(
    ids.map((document) => ({ document, type })),
    toldOf(ids.length, type, state),
    state,
  );

// The same with a type for each: one batch, which is taken back at once.
export async function give(labels, told, state = "checked") {
  if (isReadOnly()) {
    toast(say("This server is read-only."), { bad: true });
    return false;
  }
  if (!labels.length) return true;
  const sent = setLabels(labels, state);
  toast(told, { action: takeBack, label: say("Undo") });
  try {
    await sent;
    return true;
  } catch (error) {
    tellUnsaved(error);
    return false;
  }
}

function toldOf(number, type, state) {
  if (state === "confirmed") return say("The label {} stays", nameOf(type));
  if (type === null) return number === 1 ? say("Label removed") : say("{} labels removed", count(number));
  return number === 1
    ? say("Labelled as {}", nameOf(type))
    : say("{} documents labelled as {}", count(number), nameOf(type));
}

export const nameOf = (type) => (type === NO_TYPE ? say("none of these") : type);
export const labelAsked = (ids) =>
  ids.length &&
  askType({
    title: ids.length === 1 ? say("Type of this document") : say("Type of {} documents", count(ids.length)),
    done: (type) => label(ids, type),
  });

const watchers = new Set();
// What a view does when something was taken back, by whatever key or button: it shows that again.
export function useTakenBack(action) {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const watcher = (done) => latest.current(done);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
}

async function stepBack(action, message, shown = []) {
  dropOffers();
  try {
    const done = await action();
    for (const watcher of shown) watcher(done);
    toast(
      message(done.changed) +
        (done.kept?.length
          ? ` ${say("{} were changed by somebody else since and stay.", count(done.kept.length))}`
          : ""),
    );
  } catch (error) {
    if (error.status === 409) toast(error.message);
    else tellError(error);
  }
}
export const takeBack = () =>
  stepBack(
    undo,
    (number) => (number === 1 ? say("One label taken back") : say("{} labels taken back", count(number))),
    watchers,
  );
export const doAgain = () =>
  stepBack(redo, (number) => (number === 1 ? say("One label set again") : say("{} labels set again", count(number))));

function known() {
  const { documents } = store;
  if (!documents) return [];
  const sizes = sizesOfTypes();
  return documents.types
    .map((name, number) => ({ name, number, size: sizes.get(number) || 0 }))
    .filter(({ name }) => name !== NO_TYPE)
    .sort((a, b) => b.size - a.size || a.name.localeCompare(b.name));
}

function TypeDialog({ request, close }) {
  const [text, setText] = useState(request.text || "");
  const field = useRef(null);
  useLayoutEffect(() => field.current.focus(), []); // before the next key, which is the first letter
  const wanted = text.trim().toLocaleLowerCase();
  const types = request.isNew ? [] : known().filter(({ name }) => name.toLocaleLowerCase().includes(wanted));
  const exact = types.find(({ name }) => name.toLocaleLowerCase() === wanted);
  const isNew = wanted && !exact;
  const done = (type) => {
    close();
    request.done(type);
  };
  const taken = wanted && (exact || types[0])?.name; // by Enter; a new type where there is none
  const enter = () => wanted && done(taken || text.trim());
  const key = html`
    ${" "}
    <kbd>Enter</kbd>
  `;
  return html`<${Dialog} title=${request.title} onClose=${close}>
    <input ref=${field} type="text" value=${text} maxlength="200" autocomplete="off" aria-label=${say("Type")} placeholder=${request.isNew ? say("name of the new type") : say("type a name, then Enter")}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${(event) => {
        if (event.key === "Enter" && !event.isComposing) {
          event.preventDefault();
          enter();
        }
      }} />
    <div class="choices">
      ${types.map(
        ({ name, number, size }) => html`
          <button key=${name} class=${name === taken ? "set" : ""} onClick=${() => done(name)}>
            <${Type} name=${name} number=${number} />
            <span class="dim small number">${count(size)}</span>
            ${name === taken && key}
          </button>
        `,
      )}
      ${
        isNew &&
        html`
          <button class=${taken ? "" : "set"} onClick=${() => done(text.trim())}>
            ${say("New type:")}${" "}
            <bdi>${text.trim()}</bdi>
            ${!taken && key}
          </button>
        `
      }
    </div>
    <div class="row">
      ${
        !request.isNew &&
        html`
          <button onClick=${() => done(NO_TYPE)}>${say("none of these")}</button>
          <button onClick=${() => done(null)}>${say("Remove the label")}</button>
        `
      }
      <button onClick=${close}>${say("Cancel")}</button>
    </div></${Dialog}>`;
}

export function TypeDialogs() {
  useStore();
  const [request, set] = useState(null);
  useEffect(() => {
    show = set;
    return () => {
      show = () => {};
    };
  }, []);
  return (
    request &&
    html`
      <${TypeDialog} key=${request.title} request=${request} close=${() => set(null)} />
    `
  );
}
