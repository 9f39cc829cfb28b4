"use strict";
// Texts of other people are only ever set as text, never as HTML.
const content = JSON.parse(document.getElementById("content").textContent);
// Sentences of ours are given to `say`, which shows them in the language of the page; {} is filled with a value.
const say = (english, ...values) => {
  let next = 0;
  return (content.words[english] || english).replace(/\{(\d*)\}/g, (_, number) => values[number ? number - 1 : next++]);
};
const { cards, types, none, pictures } = content;
const STORE = "embedpipe-review-" + content.name;
const element = (id) => document.getElementById(id);
const add = (parent, tag, text, kind) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
};

// What was chosen, by document; kept in the browser so that a reload loses nothing.
const chosen = new Map();
const own = []; // types that were typed in
let here = 0, kept = true, saved = true;

function recall() {
  try {
    const known = new Set(cards.map((card) => card.document + card.path));
    const before = JSON.parse(localStorage.getItem(STORE) || "{}");
    for (const [key, label] of Object.entries(before.chosen || {})) if (known.has(key) && typeof label === "string") chosen.set(key, label);
    for (const label of before.own || []) if (typeof label === "string" && !own.includes(label)) own.push(label);
    here = Math.min(Math.max(Number(before.here) || 0, 0), Math.max(cards.length - 1, 0));
    saved = before.saved !== false;
  } catch { kept = false; }
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify({ chosen: Object.fromEntries(chosen), own, here, saved }));
    kept = true;
  } catch { kept = false; }
}

const keyOf = (card) => card.document + card.path;

function picture(box, key, missing) {
  if (pictures[key]) {
    const image = add(box, "img");
    image.alt = say("Page");
    image.src = "data:image/jpeg;base64," + pictures[key];
  } else add(box, "span", missing, "dim");
}

function pick(label) {
  if (!cards.length) return;
  chosen.set(keyOf(cards[here]), label);
  if (label !== none && !types.includes(label) && !own.includes(label)) own.push(label);
  saved = false;
  const after = cards.findIndex((card, number) => number > here && !chosen.has(keyOf(card)));
  go(after >= 0 ? after : Math.min(here + 1, cards.length - 1));
}

function takeBack() {
  if (cards.length && chosen.delete(keyOf(cards[here]))) saved = false;
  show();
}

function go(number) {
  here = Math.min(Math.max(number, 0), Math.max(cards.length - 1, 0));
  show();
}

function showCandidates(card, label) {
  const box = element("candidates");
  box.replaceChildren();
  card.candidates.slice(0, 9).forEach(([kind, share], number) => {
    const button = add(box, "button");
    add(button, "kbd", number + 1);
    add(button, "bdi", kind);
    add(button, "span", share === null ? "" : Math.round(100 * share) + " %", "dim");
    if (share !== null) add(button, "i").style.width = Math.round(100 * share) + "%";
    button.setAttribute("aria-pressed", String(kind === label));
    button.onclick = () => pick(kind);
  });
}

function showTypes(label) {
  const list = element("types");
  list.replaceChildren();
  add(list, "option", say("another type …")).value = "";
  for (const kind of [...types, ...own]) {
    const option = add(list, "option", kind);
    option.value = kind;
    option.selected = kind === label;
  }
}

function showLooks(card) {
  const box = element("looks");
  box.replaceChildren();
  element("heading").hidden = !card.looks.length;
  for (const look of card.looks) {
    const item = add(box, "li");
    picture(add(item, "div", undefined, "thumb"), look.picture, say("no picture"));
    add(item, "b").append(add(item, "bdi", look.type));
    add(item, "bdi", say("{}, page {}", look.name, look.page), "dim");
  }
}

function showProgress() {
  const done = cards.filter((card) => chosen.has(keyOf(card))).length;
  element("count").textContent = say("{} of {} decided", done, cards.length);
  element("bar").firstElementChild.style.width = (cards.length ? (100 * done) / cards.length : 0) + "%";
  element("state").textContent = !done ? "" : !kept ? say("this browser keeps nothing: save before you close the page") : saved ? say("saved") : say("kept in this browser, not saved yet");
  const strip = element("strip");
  if (strip.childElementCount !== cards.length) {
    strip.replaceChildren();
    cards.forEach((card, number) => {
      const button = add(strip, "button");
      button.title = card.name;
      button.onclick = () => go(number);
    });
  }
  cards.forEach((card, number) => {
    const label = chosen.get(keyOf(card)), button = strip.children[number];
    button.className = (label === undefined ? "" : "done") + (number === here ? " here" : "");
    if (number === here) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

function show() {
  keep();
  showProgress();
  const card = cards[here];
  if (!card) {
    element("name").textContent = say("There is nothing to review.");
    for (const id of ["status", "candidates", "others", "heading"]) element(id).hidden = true;
    return;
  }
  const label = chosen.get(keyOf(card)), page = element("page");
  page.replaceChildren();
  page.className = "";
  picture(page, card.picture, say("no picture: the file is gone, and none is kept"));
  element("name").textContent = card.name;
  element("folder").textContent = card.folder + (card.pages > 1 ? " · " + say("{} pages", card.pages) : "");
  element("status").textContent = card.status;
  element("reason").textContent = card.reason;
  showCandidates(card, label);
  showTypes(label);
  showLooks(card);
  element("new").value = "";
  element("none").setAttribute("aria-pressed", String(label === none));
  element("chosen").hidden = label === undefined;
  element("label").textContent = label === none ? say("none of these") : label || "";
}

// A cell that a spreadsheet would run as a formula gets an apostrophe, which `label` takes away again.
function cell(text) {
  const guarded = /^[=+\-@\t\r']/.test(text) ? "'" + text : text;
  return '"' + guarded.replaceAll('"', '""') + '"';
}

function table() {
  const rows = cards.filter((card) => chosen.has(keyOf(card)));
  const lines = rows.map((card) => [card.path, chosen.get(keyOf(card)), card.document].map(cell).join(","));
  return "\ufeff" + ["path,label,document", ...lines].join("\r\n") + "\r\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv;charset=utf-8" }));
  link.download = "review-labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  saved = true;
  show();
}

element("save").onclick = save;
element("none").onclick = () => pick(none);
element("clear").onclick = takeBack;
element("back").onclick = () => go(here - 1);
element("next").onclick = () => go(here + 1);
element("page").onclick = () => element("page").classList.toggle("full");
element("types").onchange = (event) => event.target.value && pick(event.target.value);
element("new").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && event.target.value.trim()) {
    const label = event.target.value.trim();
    event.target.blur();
    pick(label.toLowerCase() === none ? none : label);
  } else if (event.key === "Escape") event.target.blur();
  event.stopPropagation();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
  const card = cards[here];
  if (card && /^[1-9]$/.test(event.key) && card.candidates[event.key - 1]) pick(card.candidates[event.key - 1][0]);
  else if (event.key === "n") pick(none);
  else if (event.key === "0" || event.key === "Delete") takeBack();
  else if (event.key === "ArrowRight") go(here + 1);
  else if (event.key === "ArrowLeft") go(here - 1);
  else return;
  event.preventDefault();
});
addEventListener("beforeunload", (event) => {
  if (!kept && !saved && chosen.size) event.preventDefault();
});

recall();
show();
