// The map: a point for each document, those that look alike together. A loop chooses, and what is chosen gets a label.
import { addressOf, change, changeQuietly } from "./address.js";
import { instead, Stale, useDerived } from "./derived.js";
import { closeDocument, openDocument, Opened } from "./document.js";
import { Thumb } from "./grid.js";
import { acceptAnswers, SelectionBar } from "./heap.js";
import { count, say } from "./i18n.js";
import { useKeys } from "./keys.js";
import { labelAsked, nameOf } from "./labelling.js";
import { hueOf, shapeOf, stateName } from "./pieces.js";
import { Scatter } from "./scatter.js";
import { carried, clear, select, useSelection } from "./selection.js";
import { LABEL_STATES, sizesOf, store, typeName, typeOf, useStore } from "./store.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";

const variable = (hue) => (hue === "none" ? "--none" : hue === "hue7" ? "--other" : `--${hue}`);
const STATUS = { ok: "--hue2", ambiguous: "--hue1", novel: "--hue3" };
const COLOURS = { type: () => say("type"), status: () => say("status"), state: () => say("label") };

// What colours mean: the group of each point, and the groups with names and colours.
function grouped(rows, mode) {
  const { documents } = store;
  if (mode === "status") {
    const names = [...documents.statuses, ""];
    return {
      of: Uint8Array.from(rows, (row) => (documents.status[row] < 0 ? names.length - 1 : documents.status[row])),
      groups: names.map((name) => ({
        key: name || "-",
        name: name ? stateName(name) : say("no answer"),
        colour: STATUS[name] || "--none",
        shape: "",
      })),
    };
  }
  if (mode === "state") {
    return {
      of: Uint8Array.from(rows, (row) => documents.state[row]),
      groups: LABEL_STATES.map((name, number) => ({
        key: name || "-",
        name: name ? stateName(name) : say("not labelled"),
        colour: ["--none", "--hue5", "--hue2", "--hue3"][number],
        shape: "",
      })),
    };
  }
  const last = documents.types.length;
  return {
    of: Uint16Array.from(rows, (row) => {
      const type = typeOf(row);
      return type < 0 ? last : type;
    }),
    groups: [
      ...documents.types.map((name, number) => ({
        key: name,
        name: nameOf(name),
        colour: variable(hueOf(number)),
        hue: hueOf(number),
        shape: shapeOf(number),
      })),
      { key: " ", name: say("no type"), colour: "--none", shape: "" },
    ],
  };
}

function Legend({ of, groups, hidden }) {
  const sizes = sizesOf(of);
  const shown = groups
    .map((group, number) => ({ ...group, size: sizes.get(number) }))
    .filter(({ size }) => size)
    .sort((a, b) => b.size - a.size);
  const toggle = (key) => {
    const next = new Set(hidden);
    if (!next.delete(key)) next.add(key);
    change({ hide: [...next].join("\n") });
  };
  return html`
    <div class="legend" role="group" aria-label=${say("Legend")}>
      ${shown.map(
        ({ key, name, colour, shape, size }) => html`
          <button
            key=${key}
            class="plain"
            aria-pressed=${!hidden.has(key)}
            onClick=${() => toggle(key)}
            title=${hidden.has(key) ? say("show") : say("hide")}
          >
            <span class="type">
              <i class=${shape} style=${{ background: `var(${colour})` }} aria-hidden="true"></i>
              <bdi>${name}</bdi>
            </span>
            <span class="number small dim">${count(size)}</span>
          </button>
        `,
      )}
      ${
        hidden.size > 0 &&
        html`
          <button onClick=${() => change({ hide: "" })}>${say("Show all")}</button>
        `
      }
    </div>
  `;
}

function Tip({ row, x, y, width }) {
  const { documents } = store;
  return html`
    <div class="tip card" style=${{ left: `${x > width - 230 ? x - 212 : x + 16}px`, top: `${Math.max(4, y - 40)}px` }}>
      <${Thumb} document=${documents.id[row]} />
      <bdi>${documents.name[row]}</bdi>
      <span class="dim small">${nameOf(typeName(typeOf(row))) || say("no type")}</span>
    </div>
  `;
}

function useScatter(canvas, rows, columns, values) {
  const scatter = useRef(null);
  useEffect(() => {
    const made = new Scatter(canvas.current);
    scatter.current = made;
    canvas.current.scatter = made;
    const [zoom, x, y] = (values.at || "").split(",").map(Number);
    const observer = new ResizeObserver(() => {
      const isFirst = !made.width;
      made.resize();
      if (isFirst || !made.isMoved) made.fit();
      if (isFirst && Number.isFinite(zoom * x * y)) made.show(zoom, x, y);
      made.redraw();
    });
    observer.observe(canvas.current);
    const dark = matchMedia("(prefers-color-scheme: dark)"),
      repaint = () => {
        made.marks = null;
        made.redraw();
      };
    dark.addEventListener("change", repaint);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", repaint);
    };
  }, []);
  useEffect(() => scatter.current.points(Float32Array.from(columns.x), Float32Array.from(columns.y)), [columns]);
  return scatter;
}

// Mouse and fingers: drag moves, the wheel zooms, a click opens; with the loop, dragging chooses.
function useMouse(scatter, rows, loops, setTip) {
  const drag = useRef(null);
  const spot = (event) => {
    const edge = event.currentTarget.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  };
  const kept = () =>
    changeQuietly({
      at: scatter.current
        .shown()
        .map((value) => value.toFixed(3))
        .join(","),
    });
  const moved = (event) => {
    const map = scatter.current,
      [x, y] = spot(event),
      start = drag.current;
    if (!start) {
      const i = map.at(x, y);
      if (i !== map.focus) {
        map.focus = i;
        map.redraw();
      }
      setTip(i < 0 ? null : { row: rows[i], x, y, width: map.width });
      return;
    }
    if (Math.hypot(x - start.x, y - start.y) > 4) start.moved = true;
    if (start.loop) {
      map.loop.push([x, y]);
      map.redraw();
    } else {
      map.pan(x - start.lastX, y - start.lastY);
      [start.lastX, start.lastY] = [x, y];
    }
  };
  const down = (event) => {
    if (event.button !== 0) return;
    const [x, y] = spot(event);
    drag.current = {
      x,
      y,
      lastX: x,
      lastY: y,
      loop: loops || event.shiftKey,
      adds: event.shiftKey,
      takes: event.altKey,
    };
    if (drag.current.loop) scatter.current.loop = [[x, y]];
    event.currentTarget.setPointerCapture(event.pointerId);
    setTip(null);
  };
  const up = (event) => {
    const map = scatter.current,
      start = drag.current;
    drag.current = null;
    if (!start) return;
    if (!start.moved) {
      map.loop = null;
      const i = map.at(...spot(event));
      if (i >= 0) openDocument(store.documents.id[rows[i]]);
      map.redraw();
      return;
    }
    if (!start.loop) {
      kept();
      return;
    }
    const found = map.within(map.loop).map((i) => store.documents.id[rows[i]]);
    map.loop = null;
    map.redraw();
    select((set) => {
      if (!start.adds && !start.takes) set.clear();
      for (const id of found) {
        if (start.takes) set.delete(id);
        else set.add(id);
      }
    });
  };
  const wheel = (event) => {
    event.preventDefault();
    const [x, y] = spot(event);
    scatter.current.zoom(Math.exp(-event.deltaY * 0.0016), x, y);
    kept();
  };
  return {
    onPointerMove: moved,
    onPointerDown: down,
    onPointerUp: up,
    onPointerLeave: () => setTip(null),
    onWheel: wheel,
  };
}

function Drawn({ value, values }) {
  const canvas = useRef(null);
  const [tip, setTip] = useState(null);
  const { chosen, round } = useSelection();
  const { rows, columns } = useMemo(() => {
    const found = value.columns.document.map((id) => store.documents.rowOf.get(id) ?? -1),
      known = found.map((row, i) => (row >= 0 ? i : -1)).filter((i) => i >= 0);
    return {
      rows: Uint32Array.from(known, (i) => found[i]),
      columns: { x: known.map((i) => value.columns.x[i]), y: known.map((i) => value.columns.y[i]) },
    };
  }, [value, store.documents]);
  const scatter = useScatter(canvas, rows, columns, values);
  const mode = values.colour in COLOURS ? values.colour : "type";
  const hidden = useMemo(() => new Set((values.hide || "").split("\n").filter(Boolean)), [values.hide]);
  const { of, groups } = useMemo(() => grouped(rows, mode), [rows, mode, store.revision]);
  const words = (values.text || "").toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const matches = useMemo(
    () =>
      words.length
        ? Uint8Array.from(rows, (row) =>
            words.every((word) => store.documents.name[row].toLocaleLowerCase().includes(word)) ? 1 : 0,
          )
        : null,
    [rows, values.text],
  );
  useEffect(() => {
    const pale = matches
      ? matches.map((one) => 1 - one)
      : chosen.size
        ? Uint8Array.from(rows, (row) => (chosen.has(store.documents.id[row]) ? 0 : 1))
        : null;
    scatter.current.colour(
      of,
      groups.map((group) => ({ ...group, visible: !hidden.has(group.key) })),
      pale,
      matches,
    );
  }, [of, groups, hidden, matches, round]);
  const loops = values.loop === "1";
  const mouse = useMouse(scatter, rows, loops, setTip);
  const ids = [...chosen].filter((id) => store.documents.rowOf.has(id));
  const chooseFound = () =>
    select((set) => {
      set.clear();
      rows.forEach((row, i) => {
        if (matches?.[i] && !hidden.has(groups[of[i]].key)) set.add(store.documents.id[row]);
      });
    });
  const step = 60;
  useKeys({
    s: () => change({ loop: loops ? "" : "1" }),
    l: () => (ids.length ? labelAsked(ids) : false),
    a: () => (ids.length ? acceptAnswers(ids) : false),
    "+": () => scatter.current.zoom(1.4),
    "=": () => scatter.current.zoom(1.4),
    "-": () => scatter.current.zoom(1 / 1.4),
    0: () => scatter.current.fit(),
    ArrowLeft: () => scatter.current.pan(step, 0),
    ArrowRight: () => scatter.current.pan(-step, 0),
    ArrowUp: () => scatter.current.pan(0, step),
    ArrowDown: () => scatter.current.pan(0, -step),
    Escape: () => {
      if (values.doc) closeDocument();
      else if (loops) change({ loop: "" });
      else if (ids.length) clear();
      else return false;
      return true;
    },
  });
  return html`
    <div class="tools">
      <input
        type="search"
        placeholder=${say("Search names")}
        aria-label=${say("Search names")}
        value=${values.text || ""}
        onInput=${(event) => change({ text: event.target.value })}
        onKeyDown=${(event) => {
          if (event.key === "Enter" && matches) chooseFound();
        }}
      />
      ${
        matches &&
        html`
          <button onClick=${chooseFound}>
            ${say("Choose the found ones ({})", count(matches.reduce((sum, one) => sum + one, 0)))}
          </button>
        `
      }
      <label>
        ${say("Colours")}
        <select
          value=${mode}
          onChange=${(event) => change({ colour: event.target.value === "type" ? "" : event.target.value, hide: "" })}
        >
          ${Object.entries(COLOURS).map(
            ([key, text]) => html`
              <option key=${key} value=${key}>${text()}</option>
            `,
          )}
        </select>
      </label>
      <button aria-pressed=${loops} onClick=${() => change({ loop: loops ? "" : "1" })}>
        <kbd>s</kbd>
        ${say("Choose with a loop")}
      </button>
      <button class="plain" aria-label=${say("Zoom in")} onClick=${() => scatter.current.zoom(1.4)}>+</button>
      <button class="plain" aria-label=${say("Zoom out")} onClick=${() => scatter.current.zoom(1 / 1.4)}>−</button>
      <button
        class="plain"
        onClick=${() => {
          scatter.current.fit();
          changeQuietly({ at: "" });
        }}
      >
        <kbd>0</kbd>
        ${say("Show the whole map")}
      </button>
    </div>
    ${ids.length > 0 && html`<${SelectionBar} ids=${ids}><a class="button" href=${addressOf("heap", carried())}>${say("Show in the heap")}</a></${SelectionBar}>`}
    <div class="beside">
      <div class="mapped">
        <canvas
          ref=${canvas}
          class=${loops ? "loops" : ""}
          role="img"
          aria-label=${say("Map of {} documents; those that look alike lie together", count(rows.length))}
          ...${mouse}
        ></canvas>
        ${
          tip &&
          html`
            <${Tip} ...${tip} />
          `
        }
        <p class="dim small how">
          ${loops ? say("Draw around documents; Shift adds, Alt takes away.") : say("Drag to move, wheel to zoom, click to open; Shift and drag chooses.")}
        </p>
      </div>
      <${Legend} of=${of} groups=${groups} hidden=${hidden} />
      <${Opened} values=${values} />
    </div>
  `;
}

export function MapView({ values }) {
  useStore();
  const loaded = useDerived("map", "/map", { method: values.method });
  return (
    instead(loaded, say("The map is being drawn.")) ||
    html`
      <${Stale} value=${loaded.value} />
      <${Drawn} value=${loaded.value} values=${values} />
    `
  );
}
