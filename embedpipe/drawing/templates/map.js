"use strict";
// Texts of other people are only ever set as text, never as HTML.
const content = JSON.parse(document.getElementById("content").textContent);
// Sentences of ours are given to `say`, which shows them in the language of the page; {} is filled with a value.
const say = (english, ...values) => {
  let next = 0;
  return (content.words[english] || english).replace(/\{(\d*)\}/g, (_, number) => values[number ? number - 1 : next++]);
};
const { types, documents, points, thumbnails, shown } = content;
const [xs, ys] = points.places;
const count = xs.length;
const SIDE = 65535, HUES = 7, MARGIN = 46;
const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const element = (id) => document.getElementById(id);
const tip = element("tip"), pinned = element("pinned");

// Groups of the legend: a mark for each of the most frequent types, then the other types, then pages without a type.
const OTHER = Math.min(types.length, shown), NONE = OTHER + 1;
const groupOf = Uint8Array.from(points.type, (type) => (type < 0 ? NONE : Math.min(type, OTHER)));
const sizes = new Array(NONE + 1).fill(0);
groupOf.forEach((group) => sizes[group]++);
const visible = new Array(NONE + 1).fill(true);
let matches = null; // of the search: a 1 for each page that is found
let scale = 1, left = 0, top_ = 0, fitted = 1, ratio = 1, width = 0, height = 0;
let hovered = -1, chosen = -1, frame = 0, marks = [], faded = [], radius = 4, paper = [255, 255, 255];
// What is drawn reaches over the canvas by a frame, so that no mark has to be cut at its edge.
let sheet = null, pixels = null, rowLength = 0, frameWidth = 0;

const toX = (i) => xs[i] * scale + left, toY = (i) => (SIDE - ys[i]) * scale + top_;

function colourOf(group) {
  const name = group === NONE ? "--none" : group === OTHER ? "--other" : `--hue${group % HUES}`;
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function shape(context, group, x, y, r) {
  const kind = group >= OTHER ? 0 : Math.floor(group / HUES);
  context.beginPath();
  if (kind === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  else if (kind === 1) {
    context.moveTo(x, y - 1.25 * r); context.lineTo(x + 1.2 * r, y + 0.85 * r); context.lineTo(x - 1.2 * r, y + 0.85 * r);
  } else {
    context.moveTo(x, y - 1.35 * r); context.lineTo(x + 1.35 * r, y); context.lineTo(x, y + 1.35 * r); context.lineTo(x - 1.35 * r, y);
  }
  context.closePath();
}

function mark(group, r) {
  const side = Math.ceil((2.9 * r + 3) * ratio), picture = document.createElement("canvas");
  const context = picture.getContext("2d", { willReadFrequently: true });
  picture.width = picture.height = side;
  context.scale(ratio, ratio);
  shape(context, group, side / ratio / 2, side / ratio / 2, group === NONE ? 0.8 * r : r);
  context.fillStyle = colourOf(group);
  context.fill();
  context.lineWidth = Math.min(1, r / 4);
  context.strokeStyle = getComputedStyle(document.body).backgroundColor;
  context.stroke();
  return picture;
}

// Marks are copied pixel by pixel: a tenth of the time that drawing 50,000 pictures takes without a graphics card.
function stencil(drawn, share) {
  const side = drawn.width, data = drawn.getContext("2d").getImageData(0, 0, side, side).data;
  const offsets = [], colours = [], half = side >> 1, bytes = new Uint8ClampedArray(4), word = new Uint32Array(bytes.buffer);
  for (let at = 0; at < side * side; at++) {
    if (data[4 * at + 3] < 128) continue;
    for (let k = 0; k < 3; k++) bytes[k] = share * data[4 * at + k] + (1 - share) * paper[k];
    bytes[3] = 255;
    offsets.push((Math.floor(at / side) - half) * rowLength + (at % side) - half);
    colours.push(word[0]);
  }
  return { offsets: Int32Array.from(offsets), colours: Uint32Array.from(colours) };
}

function makeMarks() {
  const zoomed = Math.max(0, Math.log2(scale / fitted));
  const base = Math.min(6, Math.max(2.4, 11 - Math.log2(count + 1) * 0.6));
  const wanted = Math.round(2 * Math.min(9, base * (1 + 0.16 * zoomed))) / 2;
  if (wanted === radius && marks.length) return;
  radius = wanted;
  paper = getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number);
  const drawn = sizes.map((_, group) => mark(group, radius));
  marks = drawn.map((one) => stencil(one, 1));
  faded = drawn.map((one) => stencil(one, 0.14));
}

function isShown(i) { return visible[groupOf[i]]; }

function draw() {
  frame = 0;
  makeMarks();
  pixels.fill(0);
  // Grey below, then the frequent types, so that a rare one is never buried; what is searched for lies above all.
  if (matches) put(faded, 0);
  put(marks, 1);
  pen.putImageData(sheet, -frameWidth, -frameWidth);
  rings();
}

function put(stencils, wanted) {
  const right = width + 12, bottom = height + 12;
  for (const i of order) {
    if (!visible[groupOf[i]] || (matches && matches[i] !== wanted)) continue;
    const x = toX(i), y = toY(i);
    if (x < -12 || y < -12 || x > right || y > bottom) continue;
    const { offsets, colours } = stencils[groupOf[i]];
    const middle = (Math.round(y * ratio) + frameWidth) * rowLength + Math.round(x * ratio) + frameWidth;
    for (let k = 0; k < offsets.length; k++) pixels[middle + offsets[k]] = colours[k];
  }
}

function rings() {
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.body);
  const ring = (i, extra, line) => {
    pen.beginPath();
    pen.arc(toX(i), toY(i), radius + extra, 0, 2 * Math.PI);
    pen.strokeStyle = style.color;
    pen.lineWidth = line;
    pen.stroke();
  };
  const focus = hovered >= 0 ? hovered : chosen;
  if (focus >= 0) {
    for (const i of pagesOf[points.document[focus]]) if (isShown(i)) ring(i, 2.5, 1.2);
  }
  for (const i of [hovered, chosen]) if (i >= 0 && isShown(i)) ring(i, 4, 2.5);
}

function redraw() { frame ||= requestAnimationFrame(draw); }

const order = Uint32Array.from(xs, (_, i) => i).sort((a, b) => rankOf(groupOf[a]) - rankOf(groupOf[b]) || a - b);
function rankOf(group) { return group === NONE ? 0 : group === OTHER ? 1 : 2 + group; }
const pagesOf = documents.map(() => []);
for (let i = 0; i < count; i++) pagesOf[points.document[i]].push(i);

// A grid over the map tells which pages are near the mouse.
const CELLS = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(count / 4)))), cell = (SIDE + 1) / CELLS;
const cells = new Map();
for (let i = 0; i < count; i++) {
  const key = Math.floor(ys[i] / cell) * CELLS + Math.floor(xs[i] / cell);
  if (!cells.has(key)) cells.set(key, []);
  cells.get(key).push(i);
}

function pageAt(x, y) {
  const reach = radius + 5, dx = (x - left) / scale, dy = SIDE - (y - top_) / scale, away = reach / scale;
  const clamp = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value / cell)));
  let best = -1, nearest = reach * reach;
  for (let row = clamp(dy - away); row <= clamp(dy + away); row++) {
    for (let column = clamp(dx - away); column <= clamp(dx + away); column++) {
      for (const i of cells.get(row * CELLS + column) || []) {
        if (!isShown(i) || (matches && !matches[i])) continue;
        const distance = (toX(i) - x) ** 2 + (toY(i) - y) ** 2;
        if (distance < nearest || (distance === nearest && rankOf(groupOf[i]) > rankOf(groupOf[best]))) { best = i; nearest = distance; }
      }
    }
  }
  return best;
}

function add(parent, name, text, className) {
  const child = document.createElement(name);
  if (text !== undefined) child.textContent = text;
  if (className) child.className = className;
  parent.append(child);
  return child;
}

function describe(box, i, whole) {
  const file = documents[points.document[i]], type = points.type[i];
  box.replaceChildren();
  if (thumbnails[i] !== undefined) {
    const picture = add(box, "img");
    picture.alt = "";
    picture.src = "data:image/jpeg;base64," + thumbnails[i];
  } else add(box, "div", say("no picture"), "missing");
  add(box, "bdi", file.name, "name");
  add(box, "div", say("page {} of {}", points.page[i], points.pages[i]));
  const line = add(box, "div");
  add(line, "bdi", type < 0 ? say("no type") : types[type]);
  if (!whole) return;
  add(add(box, "p", undefined, "dim"), "bdi", file.folder);
  const link = add(add(box, "p"), "a", say("Open the file"));
  link.href = `${file.address}#page=${points.page[i]}`;
  link.target = "_blank";
  link.rel = "noopener";
  box.querySelector("p:last-of-type").append(" · ");
  const close = add(box.querySelector("p:last-of-type"), "button", "Unpin", "link");
  close.onclick = () => pin(-1);
}

function pin(i) {
  chosen = i;
  pinned.hidden = i < 0;
  if (i >= 0) describe(pinned, i, true);
  redraw();
}

function hover(i, x, y) {
  if (i !== hovered) {
    hovered = i;
    canvas.classList.toggle("over", i >= 0);
    tip.hidden = i < 0;
    if (i >= 0) describe(tip, i, false);
    redraw();
  }
  if (i < 0) return;
  const place = () => {
    const beside = x + 18 + tip.offsetWidth > width ? x - 18 - tip.offsetWidth : x + 18;
    tip.style.left = `${Math.max(4, beside)}px`;
    tip.style.top = `${Math.max(4, Math.min(y - 20, height - tip.offsetHeight - 4))}px`;
  };
  place();
  const picture = tip.querySelector("img");
  if (picture && !picture.complete) picture.onload = place;
}

function zoom(factor, x = width / 2, y = height / 2) {
  const wanted = Math.max(fitted / 2, Math.min(fitted * 4000, scale * factor)), change = wanted / scale;
  left = x - (x - left) * change;
  top_ = y - (y - top_) * change;
  scale = wanted;
  redraw();
}

function fit(wanted) {
  let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < count; i++) {
    if (wanted && !wanted(i)) continue;
    low = [Math.min(low[0], xs[i]), Math.min(low[1], SIDE - ys[i])];
    high = [Math.max(high[0], xs[i]), Math.max(high[1], SIDE - ys[i])];
  }
  if (low[0] === Infinity) return;
  const extent = [Math.max(high[0] - low[0], SIDE / 400), Math.max(high[1] - low[1], SIDE / 400)];
  scale = Math.min(Math.max(width - 2 * MARGIN, 50) / extent[0], Math.max(height - 2 * MARGIN, 50) / extent[1]);
  if (!wanted) fitted = scale;
  left = width / 2 - scale * (low[0] + high[0]) / 2;
  top_ = height / 2 - scale * (low[1] + high[1]) / 2;
  redraw();
}

function resize() {
  const first = !width, before = [width, height];
  ratio = window.devicePixelRatio || 1;
  width = canvas.clientWidth;
  height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  frameWidth = Math.ceil(30 * ratio);
  sheet = new ImageData(canvas.width + 2 * frameWidth, canvas.height + 2 * frameWidth);
  pixels = new Uint32Array(sheet.data.buffer);
  rowLength = sheet.width;
  marks = [];
  if (first) fit();
  else { left += (width - before[0]) / 2; top_ += (height - before[1]) / 2; redraw(); }
}

// The mouse, a finger, or two of them.
const fingers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  moved = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const x = event.offsetX, y = event.offsetY, before = fingers.get(event.pointerId);
  if (!before) { hover(pageAt(x, y), x, y); return; }
  moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
  const other = [...fingers].find(([id]) => id !== event.pointerId);
  if (other) {
    const [, [ox, oy]] = other;
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy)), ox, oy);
  } else if (moved > 4) {
    hover(-1);
    canvas.classList.add("moving");
    left += x - before[0];
    top_ += y - before[1];
    redraw();
  }
  fingers.set(event.pointerId, [x, y]);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    canvas.classList.remove("moving");
    if (name === "pointerup" && moved <= 4) pin(pageAt(event.offsetX, event.offsetY));
  });
}
canvas.addEventListener("pointerleave", () => hover(-1));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? height : 1);
  zoom(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 300), event.offsetX, event.offsetY);
  hover(-1);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (steps) { left += steps[0]; top_ += steps[1]; redraw(); }
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") pin(-1); });
element("in").onclick = () => zoom(1.6);
element("out").onclick = () => zoom(1 / 1.6);
element("all").onclick = () => fit();

element("search").addEventListener("input", (event) => {
  const words = event.target.value.trim().toLowerCase();
  const hits = documents.map((file) => Number(file.name.toLowerCase().includes(words)));
  matches = words ? Uint8Array.from(points.document, (number) => hits[number]) : null;
  const found = element("found");
  found.hidden = !words;
  if (words) {
    const pages = matches.reduce((sum, hit) => sum + hit, 0);
    const files = hits.reduce((sum, hit) => sum + hit, 0);
    found.textContent = say("{} pages of {} documents; Enter zooms to them", pages.toLocaleString("en"), files.toLocaleString("en"));
  }
  redraw();
});
element("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches) fit((i) => matches[i] && isShown(i));
});

const buttons = [];
function makeLegend() {
  const list = element("legend");
  list.replaceChildren();
  sizes.forEach((pages, group) => {
    if (!pages) return;
    const button = add(add(list, "li"), "button");
    button.append(mark(group, 5));
    const others = types.length - shown;
    add(button, "bdi", group === NONE ? say("no type") : group === OTHER ? say("{} other types", others) : types[group]);
    add(button, "span", pages.toLocaleString("en"), "count");
    button.onclick = (event) => {
      if (event.detail === 2) visible.fill(false);
      visible[group] = event.detail === 2 || !visible[group];
      refresh();
    };
    buttons[group] = button;
  });
  refresh();
}
function refresh() {
  buttons.forEach((button, group) => button.setAttribute("aria-pressed", String(visible[group])));
  redraw();
}
element("show").onclick = () => { visible.fill(true); refresh(); };
element("hide").onclick = () => { visible.fill(false); refresh(); };

function colours() { marks = []; makeLegend(); }
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colours);
new ResizeObserver(resize).observe(canvas);
resize();
colours();
