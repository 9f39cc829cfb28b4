// The server's REST service, which programs use as well. Errors are problem details (RFC 9457): their `detail` is one clear line.
import { say, tag } from "./i18n.js";

class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || say("The server answered {}.", status));
    Object.assign(this, { name: "Problem", status, code: body.code || "", body });
  }
}

export class Unreachable extends Error {
  constructor() {
    super(say("The server does not answer."));
    this.name = "Unreachable";
  }
}

// One for each open page, so that "undo" takes back what this page did; a reload keeps it.
export const client = (() => {
  const made = () =>
    [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, "0")).join("");
  try {
    const kept = sessionStorage.getItem("embedpipe-client") || made();
    sessionStorage.setItem("embedpipe-client", kept);
    return kept;
  } catch {
    return made();
  }
})();

let onUnauthorized = () => {};
export const whenUnauthorized = (action) => {
  onUnauthorized = action;
};
const pause = (seconds) =>
  new Promise((done) => {
    setTimeout(done, 1000 * seconds);
  });

async function once(path, options) {
  let answer;
  try {
    answer = await fetch(path, {
      credentials: "same-origin",
      ...options,
      headers: { "Accept-Language": tag(), ...options.headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  const problem = new Problem(answer.status, body);
  problem.after = Number(answer.headers.get("Retry-After")) || 1;
  if (answer.status === 401) onUnauthorized();
  throw problem;
}

// A server with all its slots taken says when to come back: questions wait for that twice before they give up.
async function ask(path, options = {}, tries = 3) {
  for (let number = 1; ; number++) {
    try {
      return await once(path, options);
    } catch (error) {
      if (error.status !== 503 || number >= tries) throw error;
      await pause(Math.min(5, error.after));
    }
  }
}

export function addressOf(path, values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (Array.isArray(value)) for (const one of value) query.append(name, one);
    else if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

export const get = async (path, values, signal) => (await ask(addressOf(path, values), { signal })).json();

export async function post(path, body = {}, signal) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  return answer.status === 204 ? null : answer.json();
}

export async function send(path, values, file, { kind = "application/octet-stream", signal } = {}) {
  return (
    await ask(addressOf(path, values), { method: "POST", headers: { "Content-Type": kind }, body: file, signal })
  ).json();
}

export const file = async (path, values) => (await ask(addressOf(path, values))).blob();

export const small = (document, page = 1) => `/pages/${document}-${page}.webp`;
export const large = (document, page = 1) => `/pages/${document}-${page}.webp?size=large`;
