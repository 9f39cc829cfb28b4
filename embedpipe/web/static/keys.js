// Keys of the view that is open. The last one that was asked for a key gets it; text fields and dialogs keep theirs.
import { useLayoutEffect, useRef } from "./vendor/preact.js";

const layers = [];
const HELD = new Set(["INPUT", "SELECT", "TEXTAREA"]);

// "ctrl+z", "shift+ArrowLeft", "n", " "; Command counts as Ctrl. A letter with Shift is the capital letter.
export function named(event) {
  const key = event.key === " " ? "space" : event.key;
  const shift = event.shiftKey && key.length > 1 ? "shift+" : "";
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}${shift}${key}`;
}

function isHeld(target) {
  return (
    (HELD.has(target.tagName) && !["checkbox", "radio", "range", "button"].includes(target.type)) ||
    target.isContentEditable
  );
}

// "g" and a letter go to a view.
const places = {};
let going = -Infinity;
export function toGo(actions) {
  Object.assign(places, actions);
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.defaultPrevented || isHeld(event.target) || document.querySelector("dialog[open]"))
    return;
  const name = named(event);
  // A focused button is pressed by its own keys, and a link by Enter.
  const pressing = { Enter: "button, a, summary, [role=slider]", space: "button, summary, [role=slider]" }[name];
  if (pressing && event.target.closest?.(pressing)) return;
  if (name === "g" && event.timeStamp - going > 1500) {
    going = event.timeStamp;
    return;
  }
  const place = event.timeStamp - going <= 1500 && places[name];
  going = -Infinity;
  if (place) {
    event.preventDefault();
    place();
    return;
  }
  for (let at = layers.length - 1; at >= 0; at--) {
    const action = layers[at].current[name];
    if (!action || action(event) === false) continue;
    event.preventDefault();
    return;
  }
});

// Actions by key, for as long as the component is shown; one that returns false leaves the key to the layer below.
// The frame's own are `below` those of all views.
export function useKeys(actions, { below = false } = {}) {
  const layer = useRef(actions);
  layer.current = actions;
  useLayoutEffect(() => {
    if (below) layers.unshift(layer);
    else layers.push(layer);
    return () => layers.splice(layers.indexOf(layer), 1);
  }, []);
}

// A button or a view that was clicked gives the focus back: the next key is for the view, and does not press it again.
document.addEventListener("click", (event) => {
  const pressed = event.detail > 0 && document.activeElement?.closest?.("#main button, #main a, #rail a");
  if (pressed && !document.querySelector("dialog[open]"))
    document.getElementById("main").focus({ preventScroll: true });
});
