// What all views show: the columns of the documents, as the server has them. Nothing is kept here that it does not have:
// labels are set here at once, sent, and asked for again where that failed or where another page has changed some.
import { client, get, post } from "./api.js";
import { forgetMissing } from "./loader.js";
import { useEffect, useRef, useState } from "./vendor/preact.js";

export const NONE = 0,
  SUGGESTED = 1,
  CHECKED = 2,
  PARTLY = 3; // some pages have checked labels, as of a pile
export const LABEL_STATES = ["", "suggested", "checked", "partly"];
const listeners = new Set();
const watchers = new Set();

export const store = {
  version: null, // of GET /version
  online: true,
  ready: false,
  revision: 0, // grows with each change of the columns
  documents: null,
  history: { can_undo: false, can_redo: false },
  jobs: new Map(),
};

function tell() {
  for (const listener of listeners) listener();
}
export function useStore() {
  const [, set] = useState(0);
  useEffect(() => {
    const listener = () => set((number) => number + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return store;
}

// Events of the server that a view waits for, and the one by which it knows that it may have missed some ("reset").
export function useEvents(names, action) {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const watcher = (event) => (names.includes(event.event) || event.event === "reset") && latest.current(event);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, names);
}

function take({ dictionaries, columns, count, answers }) {
  const floats = (values) => Float32Array.from(values, (value) => (value === null ? NaN : value));
  const documents = {
    count,
    answers,
    types: dictionaries.type,
    statuses: dictionaries.status,
    folders: dictionaries.folder,
    kinds: dictionaries.source_kind,
    id: columns.document,
    name: columns.name,
    folder: Uint32Array.from(columns.folder),
    pages: Uint32Array.from(columns.pages),
    label: Int32Array.from(columns.label),
    state: Uint8Array.from(columns.label_state),
    type: Int32Array.from(columns.type),
    status: Int8Array.from(columns.status),
    confidence: floats(columns.confidence),
    margin: floats(columns.margin),
    novelty: floats(columns.novelty),
    doubt: floats(columns.doubt),
    kind: Int8Array.from(columns.source_kind),
    rowOf: new Map(),
  };
  documents.id.forEach((id, row) => documents.rowOf.set(id, row));
  store.documents = documents;
  store.revision++;
}

// Labels that were set or taken back here while an answer was on its way are not in it: then it is asked for again.
let sending = Promise.resolve();
let writes = 0;
async function settled(ask) {
  for (;;) {
    await sending.catch(() => {});
    const before = writes;
    const answer = await ask();
    if (before === writes) return answer;
  }
}

// What changes labels: one after the other, so that undo never overtakes what it takes back.
export function inTurn(action) {
  writes++;
  sending = sending.catch(() => {}).then(action);
  return sending;
}

async function loadDocuments() {
  take(await settled(() => get("/documents")));
  forgetMissing();
  tell();
}

// Labels alone, after another page, or the command line, has set some.
async function loadLabels() {
  const answer = await settled(() => get("/documents", { columns: "label,label_state" }));
  const { count, columns, dictionaries } = answer;
  const { documents } = store;
  if (!documents || count !== documents.count || dictionaries.type.length !== documents.types.length)
    return loadDocuments();
  documents.types = dictionaries.type;
  documents.label = Int32Array.from(columns.label);
  documents.state = Uint8Array.from(columns.label_state);
  store.revision++;
  return tell();
}

export async function loadHistory() {
  store.history = await settled(() => get("/labels/changes", { limit: 30, client }));
  tell();
}

async function loadJobs() {
  const { jobs } = await get("/jobs", { limit: 50 });
  store.jobs = new Map(jobs.map((job) => [job.job, job]));
  tell();
}

export async function loadVersion() {
  store.version = await get("/version");
  tell();
}

async function loadAll() {
  await loadVersion();
  await Promise.all([loadDocuments(), loadHistory(), loadJobs()]);
  store.ready = true;
  tell();
}

export const isReadOnly = () => Boolean(store.version?.read_only);
export const rowOf = (id) => store.documents?.rowOf.get(id) ?? -1;
export const typeNumber = (name) => store.documents?.types.indexOf(name) ?? -1;
// What a document counts as: its label, else the classifier's answer; nothing where its pages are of several types.
export const typeOf = (row) =>
  store.documents.label[row] >= 0 || store.documents.state[row] === CHECKED
    ? store.documents.label[row]
    : store.documents.type[row];
export const typeName = (number) => (number < 0 ? "" : store.documents.types[number]);

// How often each value comes: sizesOf([2, 1, 2]) is 2 → 2, 1 → 1.
export function sizesOf(values) {
  const found = new Map();
  for (const value of values) found.set(value, (found.get(value) || 0) + 1);
  return found;
}
// The same of the types that documents count as, by the number of the type; -1 where there is none.
export const sizesOfTypes = () => sizesOf(store.documents.label.map((_, row) => typeOf(row)));

export function counts() {
  const sizes = sizesOf(store.documents?.state || []);
  return {
    checked: sizes.get(CHECKED) || 0,
    partly: sizes.get(PARTLY) || 0,
    suggested: sizes.get(SUGGESTED) || 0,
    total: store.documents?.count || 0,
  };
}

// Whether a document is still to be labelled: nobody has checked it, or any page of it.
export const isOpen = (row) => store.documents.state[row] === NONE || store.documents.state[row] === SUGGESTED;
// How many documents are to be asked about: those that are open, and not blank.
export function toAsk() {
  const { documents } = store;
  const blank = documents.statuses.indexOf("blank");
  return documents.status.reduce((number, status, row) => number + (status !== blank && isOpen(row) ? 1 : 0), 0);
}

function put(ids, type, state) {
  const { documents } = store;
  let number = type === null ? -1 : documents.types.indexOf(type);
  if (type !== null && number < 0) number = documents.types.push(type) - 1;
  for (const id of ids) {
    const row = documents.rowOf.get(id);
    if (row === undefined) continue;
    documents.label[row] = number;
    documents.state[row] = type === null ? NONE : state;
  }
  store.revision++;
  tell();
}

// How documents stood before, and as they stood: for labels that the server did not get.
function standing(labels) {
  const { documents } = store;
  return labels
    .filter(({ document }) => documents.rowOf.has(document))
    .map(({ document }) => [document, documents.label[rowOf(document)], documents.state[rowOf(document)]]);
}
function putBack(stood) {
  const { documents } = store;
  for (const [id, label, state] of stood) {
    const row = rowOf(id);
    if (row < 0) continue;
    documents.label[row] = label;
    documents.state[row] = state;
  }
  store.revision++;
  tell();
}

// Sets labels of many documents: [{document, type}]; one batch, which one "undo" takes back, unless there are more than
// the server takes at once.
export function setLabels(labels, state = "checked") {
  const byType = new Map();
  for (const { document, type } of labels) {
    if (!byType.has(type)) byType.set(type, []);
    byType.get(type).push(document);
  }
  const stood = standing(labels);
  for (const [type, ids] of byType) put(ids, type, state === "suggested" ? SUGGESTED : CHECKED);
  const batches = [];
  const most = store.version.limits.labels;
  for (let at = 0; at < labels.length; at += most) batches.push(labels.slice(at, at + most));
  const sent = Promise.all(batches.map((batch) => inTurn(() => post("/labels", { labels: batch, state, client }))));
  // Where a label is taken away, those of pages count again, which only the server knows.
  const told = byType.has(null) ? reloadLabels : loadHistory;
  sent.then(told, () => loadLabels().catch(() => putBack(stood)));
  return sent;
}

async function step(which) {
  const done = await inTurn(() => post(`/labels/${which}`, { client }));
  await Promise.all([loadLabels(), loadHistory()]);
  return done;
}
export const undo = () => step("undo");
export const redo = () => step("redo");
export const reloadLabels = () => Promise.all([loadLabels(), loadHistory()]);

async function handle(events) {
  const names = new Set(events.map((event) => event.event));
  for (const event of events) if (event.event === "job") store.jobs.set(event.job.job, event.job);
  if (names.has("documents") || names.has("answers") || names.has("classifier")) {
    await Promise.all([loadVersion(), loadDocuments()]);
  } else if (events.some((event) => event.event === "labels" && event.by !== client)) await loadLabels();
  for (const event of events) for (const watcher of watchers) watcher(event);
  tell();
}

// Asks for what happened, for as long as somebody looks; goes on by itself when the server was away.
export async function listen() {
  let since,
    failures = 0;
  for (;;) {
    while (document.hidden)
      await new Promise((done) => {
        document.addEventListener("visibilitychange", done, { once: true });
      });
    try {
      const answer = await get("/events", { since, wait: since === undefined ? 0 : 20 });
      if (!store.online || answer.reset || !store.ready) {
        await loadAll();
        store.online = true;
        tell();
        if (since !== undefined) for (const watcher of watchers) watcher({ event: "reset" });
      }
      failures = 0;
      since = answer.next;
      if (answer.events.length) await handle(answer.events);
    } catch (error) {
      failures++;
      if (error.status === 401) {
        await new Promise((done) => {
          setTimeout(done, 1500);
        });
        continue;
      }
      if (error.name === "Unreachable") {
        store.online = false;
        tell();
      } else if (failures > 3) console.warn(error.message);
      await new Promise((done) => {
        setTimeout(done, Math.min(5000, 400 * failures));
      });
    }
  }
}
