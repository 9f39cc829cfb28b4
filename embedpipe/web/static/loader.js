// Small pictures for a view that scrolls: what was drawn last comes first, from its top, and none is fetched that has left
// the view again.
import { useEffect, useState } from "./vendor/preact.js";

const AT_ONCE = 4; // connections that a browser has beside the one that waits for events
const KEPT = 6000;
const known = new Map(); // address to true, or false where there is none
const wanted = new Map(); // address to those who wait, in the order in which they came
let busy = 0;
let drawing = 0; // the number of the drawing, which asks for many at once

const isBefore = (one, other) => one.rank < other.rank || (one.rank === other.rank && one.drawing > other.drawing);

// All that is asked for before the next pause belongs to one drawing.
let isOpen = false;
function current() {
  if (!isOpen) {
    isOpen = true;
    drawing++;
    setTimeout(() => {
      isOpen = false;
      next();
    });
  }
  return drawing;
}

function next() {
  while (busy < AT_ONCE && wanted.size) {
    const [address, waiting] = [...wanted].reduce((best, one) => (isBefore(one[1], best[1]) ? one : best));
    wanted.delete(address);
    busy++;
    const image = new Image();
    const end = (there) => {
      busy--;
      if (known.size > KEPT) known.delete(known.keys().next().value);
      known.set(address, there);
      for (const tell of waiting.tells) tell(there);
      next();
    };
    image.onload = () =>
      image.decode
        ? image.decode().then(
            () => end(true),
            () => end(true),
          )
        : end(true);
    image.onerror = () => end(false);
    image.src = address;
  }
}

// Whether the picture can be shown without waiting: true, false where there is none, undefined while it comes.
export function usePicture(address, rank = 0) {
  const [state, set] = useState({ address, there: known.get(address) });
  const there = state.address === address ? state.there : known.get(address);
  useEffect(() => {
    if (known.get(address) !== undefined) {
      set({ address, there: known.get(address) });
      return undefined;
    }
    const tell = (found) => set({ address, there: found });
    const waiting = wanted.get(address) || { tells: new Set(), rank };
    waiting.drawing = current();
    wanted.set(address, waiting);
    waiting.tells.add(tell);
    return () => {
      waiting.tells.delete(tell);
      if (!waiting.tells.size) wanted.delete(address);
    };
  }, [address]);
  return there;
}

// After pictures were missing (a file was being read, the server was away), they are asked for again.
export function forgetMissing() {
  for (const [address, there] of known) if (!there) known.delete(address);
}

// Fetches pictures that will be shown next.
export function prefetch(addresses) {
  for (const address of addresses) {
    if (known.get(address) || wanted.has(address)) continue;
    wanted.set(address, { tells: new Set(), rank: 2, drawing: current() });
  }
}
