// The documents that are chosen, in the heap and on the map; a link to the view has them in its address.
import { changeQuietly, here } from "./address.js";
import { store } from "./store.js";
import { useEffect, useState } from "./vendor/preact.js";

export const selection = new Set();
const listeners = new Set();
const BYTES = 6; // of an id in the address: enough to tell millions apart
let written = "";

const fromHex = (text) => Array.from({ length: BYTES }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
const toHex = (bytes) => bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");

function encoded() {
  let bytes = "";
  for (const id of selection) bytes += String.fromCharCode(...fromHex(id));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_");
}

function decoded(text) {
  let bytes;
  try {
    bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return [];
  }
  const wanted = new Set();
  for (let at = 0; at + BYTES <= bytes.length; at += BYTES)
    wanted.add(toHex(Array.from(bytes.slice(at, at + BYTES), (one) => one.charCodeAt(0))));
  return store.documents.id.filter((id) => wanted.has(id.slice(0, 2 * BYTES)));
}

function tell() {
  for (const listener of listeners) listener();
}

// Changes what is chosen: select((chosen) => chosen.add(id)).
export function select(action) {
  action(selection);
  written = encoded();
  changeQuietly({ sel: written });
  tell();
}

export const clear = () => select((chosen) => chosen.clear());

// Once the documents are there, and when somebody follows a link.
export function fromAddress() {
  const { values } = here();
  if ((values.sel || "") === written || !store.documents) return;
  written = values.sel || "";
  selection.clear();
  for (const id of decoded(written)) selection.add(id);
  tell();
}

// Another view that shows the selection takes it along.
export const carried = () => (selection.size ? { sel: written } : {});

export function useSelection() {
  const [round, set] = useState(0);
  useEffect(() => {
    const listener = () => set((number) => number + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return { chosen: selection, round };
}
