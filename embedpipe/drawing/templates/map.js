"use strict";
// Texts of other people are only ever set as text, never as HTML.
const content = JSON.parse(document.getElementById("content").textContent);
// Sentences of ours are given to `say`, which shows them in the language of the page; {} is filled with a value.
const say = (english, ...values) => {
  let next = 0;
  return (content.words[english] || english).replace(/\{(\d*)\}/g, (_, number) => values[number ? number - 1 : next++]);
};
const { types, documents, points, thumbnails, shown, folders } = content;
const [xs, ys] = points.places;
const count = xs.length;
const SIDE = 65535, HUES = 7, MARGIN = 46;
const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const element = (id) => document.getElementById(id);
const tip = element("tip"), pinned = element("pinned");

const statusNames = [say("ok"), say("ambiguous"), say("novel")];
// What colours may mean: names, and the number of each page's name, or -1.
const modes = {
  label: { names: types, of: points.type, none: say("no type") },
  predicted: { names: types, of: points.predicted, none: say("no answer") },
  status: { names: statusNames, of: points.status, none: say("no answer") },
  folder: { names: folders, of: points.folder, none: "" },
};
let mode = content.predicted && points.type.some((type) => type < 0) ? "predicted" : "label";
// Groups of the legend: a mark for each of the most frequent names, then the other ones, then pages without one.
let names = [], OTHER = 0, NONE = 1, groupOf = null, sizes = [], visible = [], order = null;
// Of answers, marks say how sure they are: filled, pale, or hollow; other colours have filled marks alone.
const styleOf = Uint8Array.from(points.type, (_, i) => Math.max(0, points.status[i] ?? -1));
const picked = new Uint8Array(count); // what the lasso has chosen
let pickedCount = 0, lasso = null, selecting = false;
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

function colour(wanted) {
  mode = wanted;
  names = modes[mode].names;
  OTHER = Math.min(names.length, shown);
  NONE = OTHER + 1;
  groupOf = Uint8Array.from(modes[mode].of, (name) => (name < 0 ? NONE : Math.min(name, OTHER)));
  sizes = new Array(NONE + 1).fill(0);
  groupOf.forEach((group) => sizes[group]++);
  visible = new Array(NONE + 1).fill(true);
  order = Uint32Array.from(xs, (_, i) => i).sort((a, b) => rankOf(groupOf[a]) - rankOf(groupOf[b]) || a - b);
  marks = [];
}

function mark(group, r, style = 0) {
  const side = Math.ceil((2.9 * r + 3) * ratio), picture = document.createElement("canvas");
  const context = picture.getContext("2d", { willReadFrequently: true });
  picture.width = picture.height = side;
  context.scale(ratio, ratio);
  shape(context, group, side / ratio / 2, side / ratio / 2, group === NONE ? 0.8 * r : r);
  const hollow = style === 2;
  context.fillStyle = getComputedStyle(document.body).backgroundColor; // a stencil has no pixels that let others through
  context.fill();
  context.fillStyle = colourOf(group);
  context.globalAlpha = hollow ? 0 : style === 1 ? 0.45 : 1;
  context.fill();
  context.globalAlpha = 1;
  context.lineWidth = hollow || style === 1 ? Math.max(1, r / 3) : Math.min(1, r / 4);
  context.strokeStyle = hollow || style === 1 ? colourOf(group) : getComputedStyle(document.body).backgroundColor;
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
  const styles = mode === "predicted" ? [0, 1, 2] : [0];
  const drawn = styles.map((style) => sizes.map((_, group) => mark(group, radius, style)));
  marks = drawn.map((ones) => ones.map((one) => stencil(one, 1)));
  faded = drawn.map((ones) => ones.map((one) => stencil(one, 0.14)));
}

function isShown(i) { return visible[groupOf[i]]; }
function isFaded(i) { return (matches && !matches[i]) || (pickedCount && !picked[i]); }

function draw() {
  frame = 0;
  makeMarks();
  pixels.fill(0);
  // Grey below, then the frequent types, so that a rare one is never buried; what is searched for lies above all.
  if (matches || pickedCount) put(faded, true);
  put(marks, false);
  pen.putImageData(sheet, -frameWidth, -frameWidth);
  rings();
  drawLasso();
}

function put(stencils, wanted) {
  const right = width + 12, bottom = height + 12;
  for (const i of order) {
    if (!visible[groupOf[i]] || Boolean(isFaded(i)) !== wanted) continue;
    const x = toX(i), y = toY(i);
    if (x < -12 || y < -12 || x > right || y > bottom) continue;
    const { offsets, colours } = stencils[stencils.length > 1 ? styleOf[i] : 0][groupOf[i]];
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

function drawLasso() {
  if (!lasso) return;
  const style = getComputedStyle(document.documentElement);
  pen.beginPath();
  lasso.line.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
  pen.globalAlpha = 0.15;
  pen.fillStyle = style.getPropertyValue("--first");
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = style.getPropertyValue("--first");
  pen.lineWidth = 1.5;
  pen.stroke();
}

// The loop is painted once, and pages look up their pixel: corners times pages took seconds.
function painted(line) {
  const picture = document.createElement("canvas");
  picture.width = Math.max(1, Math.ceil(width));
  picture.height = Math.max(1, Math.ceil(height));
  const context = picture.getContext("2d", { willReadFrequently: true });
  line.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.fill("evenodd");
  const data = context.getImageData(0, 0, picture.width, picture.height).data;
  return (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[4 * (Math.floor(y) * picture.width + Math.floor(x)) + 3] > 127;
}

// Pages that are hidden, or not found by the search, are not chosen: nobody sees them.
function pick(line, adds, takes) {
  if (!adds && !takes) picked.fill(0);
  if (line.length > 2) {
    const inside = painted(line);
    for (let i = 0; i < count; i++) {
      if (!isShown(i) || (matches && !matches[i]) || !inside(toX(i), toY(i))) continue;
      picked[i] = takes ? 0 : 1;
    }
  }
  tellPicked();
}

function tellPicked() {
  pickedCount = picked.reduce((sum, one) => sum + one, 0);
  const files = new Set();
  for (let i = 0; i < count; i++) if (picked[i]) files.add(points.document[i]);
  element("selection").hidden = !pickedCount && !selecting;
  element("count").textContent = pickedCount
    ? say("{} pages of {} documents", pickedCount.toLocaleString("en"), files.size.toLocaleString("en"))
    : say("Draw around pages; Shift adds, Alt takes away.");
  element("save").disabled = element("clear").disabled = !pickedCount;
  redraw();
}

function select(on) {
  selecting = on;
  lasso = null;
  element("lasso").setAttribute("aria-pressed", String(on));
  canvas.classList.toggle("selecting", on);
  hover(-1);
  tellPicked();
}

function quoted(text) { return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; }

// What `label` takes: a line for each page, or for each document, with an empty label where no type was written.
function table() {
  const kind = element("kind").value.trim(), whole = element("whole").checked, lines = [whole ? "path,label" : "path,page,label"];
  const files = new Set();
  for (let i = 0; i < count; i++) {
    if (!picked[i] || (whole && files.has(points.document[i]))) continue;
    const file = documents[points.document[i]];
    files.add(points.document[i]);
    const path = quoted(file.path ?? `${file.folder}/${file.name}`);
    lines.push(whole ? `${path},${quoted(kind)}` : `${path},${points.page[i]},${quoted(kind)}`);
  }
  return `\ufeff${lines.join("\r\n")}\r\n`;
}

function save() {
  const link = document.createElement("a"), address = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.href = address;
  link.download = "selection.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function redraw() { frame ||= requestAnimationFrame(draw); }

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
  const told = points.predicted[i] ?? -1;
  if (told >= 0) add(add(box, "div", undefined, "dim"), "bdi", say("predicted: {}, {}", types[told], statusNames[points.status[i]]));
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
  if (selecting && fingers.size === 1) lasso = { line: [[event.offsetX, event.offsetY]] };
});
canvas.addEventListener("pointermove", (event) => {
  const x = event.offsetX, y = event.offsetY, before = fingers.get(event.pointerId);
  if (!before) { hover(pageAt(x, y), x, y); return; }
  moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
  const other = [...fingers].find(([id]) => id !== event.pointerId);
  if (other) {
    lasso = null;
    const [, [ox, oy]] = other;
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy)), ox, oy);
  } else if (lasso) {
    const [lx, ly] = lasso.line.at(-1);
    if (Math.abs(x - lx) + Math.abs(y - ly) > 3) lasso.line.push([x, y]);
    redraw();
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
    const drawn = lasso;
    lasso = null;
    if (name === "pointerup" && moved <= 4) pin(pageAt(event.offsetX, event.offsetY));
    else if (name === "pointerup" && drawn) pick(drawn.line, event.shiftKey, event.altKey);
    redraw();
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
  else if (event.key === "s") select(!selecting);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  pin(-1);
  if (selecting) select(false);
});
element("lasso").onclick = () => select(!selecting);
element("clear").onclick = () => { picked.fill(0); tellPicked(); };
element("save").onclick = save;
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

let buttons = [];
function makeLegend() {
  const list = element("legend");
  list.replaceChildren();
  buttons = [];
  element("sure").hidden = mode !== "predicted";
  sizes.forEach((pages, group) => {
    if (!pages) return;
    const button = add(add(list, "li"), "button");
    button.append(mark(group, 5));
    const others = names.length - shown;
    add(button, "bdi", group === NONE ? modes[mode].none : group === OTHER ? say("{} others", others) : names[group]);
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

function colours() { marks = []; makeLegend(); makeSure(); }
function makeSure() {
  const line = element("sure");
  line.replaceChildren();
  const much = Math.max(0, groupOf.findIndex((group) => group < OTHER));
  statusNames.forEach((status, style) => {
    const one = add(line, "span");
    one.append(mark(Math.min(groupOf[much], OTHER), 5, style));
    add(one, "span", status);
  });
}
function change(wanted) { colour(wanted); colours(); for (const radio of document.querySelectorAll("#modes input")) radio.checked = radio.value === mode; }
for (const radio of document.querySelectorAll("#modes input")) {
  radio.parentElement.hidden = !modes[radio.value].of.length || (radio.value === "folder" && folders.length < 2);
  radio.onchange = () => change(radio.value);
}
element("modes").hidden = [...document.querySelectorAll("#modes label")].filter((label) => !label.hidden).length < 2;
change(mode);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colours);
new ResizeObserver(resize).observe(canvas);
resize();
tellPicked();
