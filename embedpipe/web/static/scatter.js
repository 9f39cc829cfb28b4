// Draws up to a hundred thousand points on a canvas without a graphics card, and says which are under the mouse or in a loop.
// Marks are copied pixel by pixel into one picture: a tenth of the time that as many `arc` or `drawImage` take.
const REACH = 6; // pixels around the mouse
const FRAME = 14; // pixels beyond the edges, so that no mark has to be cut
const CELLS = 128;

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
function channels(colour) {
  const hex = colour.replace("#", "");
  const whole = hex.length === 3 ? [...hex].map((one) => one + one).join("") : hex;
  return [0, 2, 4].map((at) => Number.parseInt(whole.slice(at, at + 2), 16));
}

function outline(pen, shape, middle, r) {
  pen.beginPath();
  if (shape === "square") pen.rect(middle - 0.9 * r, middle - 0.9 * r, 1.8 * r, 1.8 * r);
  else if (shape === "diamond") {
    pen.moveTo(middle, middle - 1.3 * r);
    pen.lineTo(middle + 1.3 * r, middle);
    pen.lineTo(middle, middle + 1.3 * r);
    pen.lineTo(middle - 1.3 * r, middle);
  } else pen.arc(middle, middle, r, 0, 2 * Math.PI);
  pen.closePath();
}

export class Scatter {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { willReadFrequently: true }); // kept in memory, where it is written
    this.view = { scale: 1, left: 0, top: 0 };
    this.fitted = 1;
    this.loop = null;
    this.focus = -1;
    this.count = 0;
    this.waiting = 0;
  }

  // Places from 0 to 1; a grid over them tells which are near.
  points(xs, ys) {
    Object.assign(this, { xs, ys, count: xs.length });
    const starts = new Uint32Array(CELLS * CELLS + 1);
    const cellOf = (i) =>
      Math.min(CELLS - 1, Math.floor(ys[i] * CELLS)) * CELLS + Math.min(CELLS - 1, Math.floor(xs[i] * CELLS));
    for (let i = 0; i < xs.length; i++) starts[cellOf(i) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) starts[cell + 1] += starts[cell];
    const next = starts.slice(),
      members = new Uint32Array(xs.length);
    for (let i = 0; i < xs.length; i++) members[next[cellOf(i)]++] = i;
    Object.assign(this, { starts, members });
  }

  // `of`: the group of each point; `groups`: {colour, shape, visible}; `pale`: 1 for each point that recedes, or null;
  // `found`: 1 for each point that a search found, or null: no loop chooses another. Rare groups are drawn last, so that none is buried.
  colour(of, groups, pale, found) {
    Object.assign(this, { of, groups, pale, found });
    const sizes = new Uint32Array(groups.length);
    for (const group of of) sizes[group]++;
    const ranks = [...groups.keys()].sort((a, b) => sizes[b] - sizes[a]),
      rank = new Uint32Array(groups.length);
    ranks.forEach((group, place) => {
      rank[group] = place;
    });
    const starts = new Uint32Array(groups.length + 1);
    for (let i = 0; i < of.length; i++) starts[rank[of[i]] + 1]++;
    for (let at = 0; at < groups.length; at++) starts[at + 1] += starts[at];
    this.order = new Uint32Array(of.length);
    for (let i = 0; i < of.length; i++) this.order[starts[rank[of[i]]]++] = i;
    this.marks = null;
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    Object.assign(this, { width: clientWidth, height: clientHeight });
    this.canvas.width = Math.max(1, Math.round(clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * this.ratio));
    this.row = this.canvas.width + 2 * FRAME;
    this.stretch = Math.max(1, Math.min(1.9, clientWidth / Math.max(1, clientHeight))); // a wide window shows a wide map
    this.sheet = new ImageData(this.row, this.canvas.height + 2 * FRAME);
    this.pixels = new Uint32Array(this.sheet.data.buffer);
    this.marks = null;
  }

  fit() {
    const margin = 28;
    this.fitted = Math.max(20, Math.min((this.width - 2 * margin) / this.stretch, this.height - 2 * margin));
    this.view = {
      scale: this.fitted,
      left: (this.width - this.fitted * this.stretch) / 2,
      top: (this.height - this.fitted) / 2,
    };
    this.isMoved = false;
    this.redraw();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const { view } = this,
      scale = Math.max(this.fitted / 2, Math.min(this.fitted * 400, view.scale * factor)),
      share = scale / view.scale;
    this.view = { scale, left: x - (x - view.left) * share, top: y - (y - view.top) * share };
    this.isMoved = true;
    this.redraw();
  }

  // How far it is zoomed, and what is in the middle; and the way back, for the address.
  shown() {
    const { view } = this;
    return [
      view.scale / this.fitted,
      (this.width / 2 - view.left) / (view.scale * this.stretch),
      (this.height / 2 - view.top) / view.scale,
    ];
  }
  show(zoom, x, y) {
    const scale = Math.max(0.5, Math.min(400, zoom)) * this.fitted;
    this.view = { scale, left: this.width / 2 - x * scale * this.stretch, top: this.height / 2 - y * scale };
    this.isMoved = true;
  }

  pan(dx, dy) {
    this.view.left += dx;
    this.view.top += dy;
    this.isMoved = true;
    this.redraw();
  }
  place(i) {
    return [
      this.xs[i] * this.stretch * this.view.scale + this.view.left,
      (1 - this.ys[i]) * this.view.scale + this.view.top,
    ];
  }
  redraw() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  mark(shape, colour, share) {
    const side = Math.ceil((2.8 * this.radius + 3) * this.ratio),
      drawn = new OffscreenCanvas(side, side),
      pen = drawn.getContext("2d");
    const paper = channels(colourOf("--paper"));
    pen.fillStyle = `rgb(${channels(colour)
      .map((value, k) => Math.round(share * value + (1 - share) * paper[k]))
      .join(" ")})`;
    pen.strokeStyle = `rgb(${paper.join(" ")})`;
    outline(pen, shape, side / 2, this.radius * this.ratio);
    pen.fill();
    pen.lineWidth = 0.7 * this.ratio;
    pen.stroke();
    const { data } = pen.getImageData(0, 0, side, side),
      offsets = [],
      colours = [],
      half = side >> 1;
    for (let at = 0; at < side * side; at++) {
      if (data[4 * at + 3] < 128) continue;
      offsets.push((Math.floor(at / side) - half) * this.row + (at % side) - half);
      colours.push((255 << 24) | (data[4 * at + 2] << 16) | (data[4 * at + 1] << 8) | data[4 * at]);
    }
    return { offsets: Int32Array.from(offsets), colours: Uint32Array.from(colours, (value) => value >>> 0) };
  }

  makeMarks() {
    const zoomed = Math.max(0, Math.log2(this.view.scale / this.fitted));
    const radius =
      Math.round(2 * Math.min(8, Math.max(1.8, 9 - 0.55 * Math.log2(this.count + 1)) * (1 + 0.2 * zoomed))) / 2;
    if (this.marks && radius === this.radius) return;
    this.radius = radius;
    this.marks = this.groups.map(({ colour, shape }) => [
      this.mark(shape, colourOf(colour), 1),
      this.mark(shape, colourOf(colour), 0.16),
    ]);
  }

  draw() {
    if (!this.count || !this.groups || !this.width) return;
    this.makeMarks();
    this.pixels.fill(0);
    if (this.pale) this.put(1);
    this.put(0);
    this.pen.putImageData(this.sheet, -FRAME, -FRAME);
    this.pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (this.focus >= 0) this.ring(this.focus);
    if (this.loop) this.drawLoop();
  }

  put(pale) {
    const { view, ratio, width, height, groups, row, pixels, xs, ys } = this,
      across = view.scale * this.stretch;
    for (const i of this.order) {
      if ((this.pale ? this.pale[i] : 0) !== pale || !groups[this.of[i]].visible) continue;
      const x = xs[i] * across + view.left,
        y = (1 - ys[i]) * view.scale + view.top;
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const { offsets, colours } = this.marks[this.of[i]][pale];
      const middle = (Math.round(y * ratio) + FRAME) * row + Math.round(x * ratio) + FRAME;
      for (let k = 0; k < offsets.length; k++) pixels[middle + offsets[k]] = colours[k];
    }
  }

  ring(i) {
    const [x, y] = this.place(i);
    this.pen.beginPath();
    this.pen.arc(x, y, this.radius + 4, 0, 2 * Math.PI);
    this.pen.strokeStyle = colourOf("--ink");
    this.pen.lineWidth = 2;
    this.pen.stroke();
  }

  drawLoop() {
    this.pen.beginPath();
    for (const [x, y] of this.loop) this.pen.lineTo(x, y);
    this.pen.closePath();
    this.pen.strokeStyle = this.pen.fillStyle = colourOf("--first");
    this.pen.globalAlpha = 0.14;
    this.pen.fill();
    this.pen.globalAlpha = 1;
    this.pen.lineWidth = 1.5;
    this.pen.stroke();
  }

  isShown(i) {
    return this.groups[this.of[i]].visible && !(this.found && !this.found[i]);
  }

  // The point nearest to a place on the screen, or -1.
  at(x, y) {
    const { view } = this,
      reach = (this.radius || 3) + REACH,
      clamp = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value * CELLS)));
    const u = (x - view.left) / (view.scale * this.stretch),
      v = 1 - (y - view.top) / view.scale,
      away = reach / view.scale;
    let best = -1,
      nearest = reach * reach;
    for (let line = clamp(v - away); line <= clamp(v + away); line++) {
      for (
        let at = this.starts[line * CELLS + clamp(u - away)];
        at < this.starts[line * CELLS + clamp(u + away) + 1];
        at++
      ) {
        const i = this.members[at];
        if (!this.groups[this.of[i]].visible) continue;
        const [px, py] = this.place(i),
          distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < nearest) {
          best = i;
          nearest = distance;
        }
      }
    }
    return best;
  }

  // Points within a loop: it is painted once, and points look up their pixel.
  within(line) {
    if (line.length < 3) return [];
    const drawn = new OffscreenCanvas(Math.max(1, this.width), Math.max(1, this.height)),
      pen = drawn.getContext("2d", { willReadFrequently: true });
    for (const [x, y] of line) pen.lineTo(x, y);
    pen.fill("evenodd");
    const { data } = pen.getImageData(0, 0, drawn.width, drawn.height),
      found = [];
    for (let i = 0; i < this.count; i++) {
      const [x, y] = this.place(i).map(Math.floor);
      if (
        x >= 0 &&
        y >= 0 &&
        x < drawn.width &&
        y < drawn.height &&
        data[4 * (y * drawn.width + x) + 3] > 127 &&
        this.isShown(i)
      )
        found.push(i);
    }
    return found;
  }
}
