// Which view, and what it shows, is in the address: "#/heap?type=invoice&sort=margin". A link opens the same again.
import { useEffect, useState } from "./vendor/preact.js";

export const FIRST = "heap";
const listeners = new Set();

export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || FIRST, values: Object.fromEntries(new URLSearchParams(query)) };
}

export function addressOf(view, values = {}) {
  const kept = Object.entries(values).filter(
    ([, value]) => value !== undefined && value !== null && value !== "" && value !== false,
  );
  const query = new URLSearchParams(
    kept.map(([name, value]) => [name, value === true ? "1" : String(value)]),
  ).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

function tell() {
  for (const listener of listeners) listener(here());
}

// Another view, or other values of this one, that "back" shall leave again.
export function go(view, values) {
  history.pushState(null, "", addressOf(view, values));
  tell();
}

// Values that `changeQuietly` still holds back; whoever takes them writes them.
let waiting = 0;
let pending = {};
function heldBack(view) {
  clearTimeout(waiting);
  const values = pending.view === view ? pending.values : {};
  pending = {};
  return values;
}

// Other values in the same place: scrolling or typing a search makes no step of its history.
export function change(values) {
  const now = here();
  const next = addressOf(now.view, { ...now.values, ...heldBack(now.view), ...values });
  if (next === location.hash) return;
  history.replaceState(null, "", next);
  tell();
}

// The position moves with every scroll; nobody draws anything for it.
export function changeQuietly(values) {
  const { view } = here();
  pending = { view, values: { ...heldBack(view), ...values } };
  waiting = setTimeout(() => {
    const now = here(),
      values = heldBack(now.view); // those of a view that was left are dropped
    if (Object.keys(values).length) history.replaceState(null, "", addressOf(now.view, { ...now.values, ...values }));
  }, 120);
}

export function useAddress() {
  const [now, set] = useState(here);
  useEffect(() => {
    listeners.add(set);
    return () => listeners.delete(set);
  }, []);
  return now;
}

addEventListener("hashchange", tell);
addEventListener("popstate", tell);
