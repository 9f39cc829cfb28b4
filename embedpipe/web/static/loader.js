// Small pictures for a view that scrolls: what was drawn last comes first, from its top, and none is fetched that has left
// the view again.
import { useEffect, useState } from "./vendor/preact.js";

const AT_ONCE = 4; // connections that a browser has beside the one that waits for events
const AHEAD = 2; // the rank of what is not shown yet
const KEPT = 6000;
const known = new Map(); // address to true, or false where there is none
const wanted = new Map(); // address to what is known of the request, in the order in which they came
const missing = new Map(); // address to those who show that there is none: each asks again
const failures = new Map(); // address to how often it did not come
const TRIES = 4; // after a second, and then after three times as long as before: a server that begins refuses some
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

// Wants a picture, or wants it sooner than it was wanted before.
function want(address, rank) {
  const request = wanted.get(address) || { tells: new Set(), rank, isLoading: false };
  request.rank = Math.min(request.rank, rank);
  request.drawing = current();
  wanted.set(address, request);
  return request;
}

function next() {
  while (busy < AT_ONCE) {
    let best = null;
    for (const one of wanted) if (!one[1].isLoading && (!best || isBefore(one[1], best[1]))) best = one;
    if (!best) return;
    load(...best);
  }
}

function load(address, request) {
  const image = new Image();
  const end = (there) => {
    busy--;
    wanted.delete(address);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    known.set(address, there);
    if (there) failures.delete(address);
    else later(address);
    for (const tell of request.tells) tell(there);
    next();
  };
  const good = () => end(true);
  image.onload = () => image.decode().then(good, good);
  image.onerror = () => end(false);
  busy++;
  request.isLoading = true;
  image.src = address;
}

// Has those who show that a picture is not there ask for it again after a while, a few times.
function later(address) {
  const times = failures.get(address) || 0;
  if (times >= TRIES) return;
  failures.set(address, times + 1);
  setTimeout(() => retry(address), 1000 * 3 ** times);
}

function retry(address) {
  const waiting = missing.get(address);
  if (!waiting) return; // nobody shows it any more
  known.delete(address);
  missing.delete(address);
  for (const ask of waiting) ask();
}

// Whether the picture can be shown without waiting: true, false where there is none, undefined while it comes.
export function usePicture(address, rank = 0) {
  const [state, set] = useState({ address, there: known.get(address) });
  const [round, again] = useState(0);
  const there = state.address === address ? state.there : known.get(address);
  useEffect(() => {
    const tell = (found) => {
      set({ address, there: found });
      if (!found) again((number) => number + 1);
    };
    const found = known.get(address);
    if (found !== undefined) set({ address, there: found });
    if (found) return undefined;
    if (found === false) {
      const ask = () => again((number) => number + 1);
      const waiting = missing.get(address) || new Set();
      missing.set(address, waiting.add(ask));
      return () => {
        waiting.delete(ask);
        if (!waiting.size && missing.get(address) === waiting) missing.delete(address);
      };
    }
    const request = want(address, rank);
    request.tells.add(tell);
    return () => {
      request.tells.delete(tell);
      if (!request.tells.size && !request.isLoading) wanted.delete(address);
    };
  }, [address, round]);
  return there;
}

// Pictures that were not there (a file was being read, the server was away) are asked for again, also those in sight.
export function forgetMissing() {
  failures.clear();
  for (const [address, there] of known) if (!there) known.delete(address);
  for (const address of [...missing.keys()]) retry(address);
}

// Fetches pictures that will be shown next.
export function prefetch(addresses) {
  for (const address of addresses) if (!known.has(address)) want(address, AHEAD);
}
