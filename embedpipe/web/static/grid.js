// A grid of documents that draws only the rows in sight, chosen with the mouse (Shift, Ctrl, a loop) or with keys.
import { small } from "./api.js";
import { share, say } from "./i18n.js";
import { nameOf } from "./labelling.js";
import { usePicture } from "./loader.js";
import { stateName, Type } from "./pieces.js";
import { CHECKED, LABEL_STATES, PARTLY, store, typeName, typeOf, NONE } from "./store.js";
import { html, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact.js";

export const SIZES = { small: [92, 128], medium: [150, 216], large: [236, 330] };
const BEYOND = 1; // screens that are drawn above and below what is seen
const STRIP = 4;

// Until a picture has come, its place shows the outline of a page: no tile is ever blank.
export function Thumb({ document, page = 1, rank = 0, alt = "" }) {
  const address = small(document, page);
  const there = usePicture(address, rank);
  if (there)
    return html`
      <img src=${address} alt=${alt} draggable=${false} />
    `;
  return html`
    <span class=${there === false ? "sheet none" : "sheet"} aria-hidden="true">
      ${there === false ? say("no picture") : ""}
    </span>
  `;
}

function Tile({ row, active, chosen, place, total, withStrip }) {
  const { documents } = store;
  const id = documents.id[row];
  const type = typeOf(row);
  const state = documents.state[row];
  const name = state === CHECKED && type < 0 ? say("several types") : nameOf(typeName(type));
  const status = documents.status[row] < 0 ? "" : documents.statuses[documents.status[row]];
  const more = documents.pages[row] - 1;
  const said = [
    documents.name[row],
    name || say("no type"),
    state === NONE ? (status ? stateName(status) : "") : stateName(LABEL_STATES[state]),
  ]
    .filter(Boolean)
    .join(", ");
  return html`
    <div
      id=${`tile-${id}`}
      role="option"
      aria-selected=${chosen}
      aria-posinset=${place + 1}
      aria-setsize=${total}
      aria-label=${said}
      data-row=${row}
      class=${`tile ${chosen ? "chosen" : ""} ${active ? "active" : ""} ${state === CHECKED ? "checked" : ""}`}
      title=${documents.name[row]}
    >
      <span class="front">
        <${Thumb} document=${id} />
        ${
          state === CHECKED &&
          html`
            <b class="tick" aria-hidden="true">✓</b>
          `
        }
        ${
          more > 0 &&
          html`
            <b class="more number" aria-hidden="true">${documents.pages[row]}</b>
          `
        }
      </span>
      ${
        withStrip &&
        html`
          <span class="strip" aria-hidden="true">
            ${Array.from(
              { length: Math.min(more, STRIP) },
              (_, page) => html`
                <${Thumb} key=${page} document=${id} page=${page + 2} rank=${1} />
              `,
            )}
          </span>
        `
      }
      <span class="name"><bdi>${documents.name[row]}</bdi></span>
      <span class="line">
        <${Type} name=${name} number=${type} />
        ${
          state !== NONE
            ? html`
                <span class="dim number" title=${stateName(LABEL_STATES[state])}>${{ [CHECKED]: "", [PARTLY]: "◐" }[state] ?? "?"}</span>
              `
            : html`
                <span class=${`dot ${status}`}></span>
                <span class="dim number">${share(documents.confidence[row])}</span>
              `
        }
      </span>
    </div>
  `;
}

// Which tiles a rectangle touches, in places within `rows`.
function touched({ columns, width, height, total }, from, to) {
  const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
  const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
  const found = [];
  const last = Math.min(columns - 1, Math.floor(right / width));
  for (let line = Math.max(0, Math.floor(top / height)); line <= Math.floor(bottom / height); line++) {
    for (let column = Math.max(0, Math.floor(left / width)); column <= last; column++) {
      const place = line * columns + column;
      if (place < total) found.push(place);
    }
  }
  return found;
}

export function Grid({
  rows,
  size = "medium",
  chosen,
  onChoose,
  onOpen,
  at,
  onMove,
  label,
  filter = "all",
  keys = {},
  toggles = false,
  kind = "",
}) {
  const box = useRef(null);
  const [seen, setSeen] = useState({ top: 0, width: 800, height: 600 });
  const [active, setActive] = useState(0);
  const anchor = useRef(0);
  const lasso = useRef(null);
  const [frame, setFrame] = useState(null);
  const { documents } = store;
  const [tileWidth, tileHeight] = SIZES[size] || SIZES.medium;
  const inner = Math.max(tileWidth, seen.width - 16);
  const columns = Math.max(1, Math.floor(inner / tileWidth));
  const geometry = { columns, width: inner / columns, height: tileHeight, total: rows.length };
  const lines = Math.ceil(rows.length / columns);
  const first = Math.max(0, Math.floor((seen.top - BEYOND * seen.height) / tileHeight));
  const last = Math.min(lines, Math.ceil((seen.top + (1 + BEYOND) * seen.height) / tileHeight));
  const focus = Math.min(active, rows.length - 1);

  useLayoutEffect(() => {
    const measure = () =>
      setSeen((before) => ({ ...before, width: box.current.clientWidth, height: box.current.clientHeight }));
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    measure();
    return () => observer.disconnect();
  }, []);
  // Where the address says, at first; at the top after other filters; at the same document in a window of another size.
  const top = useRef(at);
  const laidOut = useRef("");
  useLayoutEffect(() => {
    if (laidOut.current && laidOut.current !== filter) top.current = at || "";
    laidOut.current = filter;
    const place = top.current ? rows.indexOf(documents.rowOf.get(top.current) ?? -1) : -1;
    box.current.scrollTop = place > 0 ? Math.floor(place / columns) * tileHeight : 0;
  }, [filter, columns, size]);

  const scrolled = () => {
    const now = box.current.scrollTop;
    setSeen((before) => (before.top === now ? before : { ...before, top: now }));
    const place = Math.round(now / tileHeight) * columns;
    top.current = place > 0 && rows[place] !== undefined ? documents.id[rows[place]] : "";
    onMove?.(top.current);
  };
  const into = (place) => {
    const top = Math.floor(place / columns) * tileHeight;
    if (top < box.current.scrollTop) box.current.scrollTop = top;
    else if (top + tileHeight > box.current.scrollTop + box.current.clientHeight)
      box.current.scrollTop = top + tileHeight - box.current.clientHeight;
  };
  const idOf = (place) => documents.id[rows[place]];
  const range = (from, to) =>
    Array.from({ length: Math.abs(to - from) + 1 }, (_, step) => idOf(Math.min(from, to) + step));
  const only = (places) =>
    onChoose((set) => {
      set.clear();
      for (const id of places) set.add(id);
    });
  const toggle = (place) =>
    onChoose((set) => {
      const id = idOf(place);
      if (set.has(id)) set.delete(id);
      else set.add(id);
    });

  const move = (to, event) => {
    if (!rows.length) return;
    const place = Math.max(0, Math.min(rows.length - 1, to));
    if (event.shiftKey) only(range(anchor.current, place));
    else anchor.current = place;
    setActive(place);
    into(place);
  };
  const keyed = (event) => {
    const page = Math.max(1, Math.floor(seen.height / tileHeight)) * columns;
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      PageDown: page,
      PageUp: -page,
      Home: -rows.length,
      End: rows.length,
    };
    if (event.key in steps && !event.altKey && !event.ctrlKey) move(focus + steps[event.key], event);
    else if (event.key === " " && !toggles) {
      toggle(focus);
      anchor.current = focus;
    } else if (event.key === "Enter") onOpen(idOf(focus));
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) only(Array.from(rows, (row) => documents.id[row]));
    else if (keys[event.key] && !event.ctrlKey && !event.metaKey) keys[event.key](idOf(focus));
    else return;
    event.preventDefault();
  };

  const spot = (event) => {
    const edge = box.current.getBoundingClientRect();
    return { x: event.clientX - edge.left - 8, y: event.clientY - edge.top + box.current.scrollTop - 8 };
  };
  const placeAt = ({ x, y }) => touched(geometry, { x, y }, { x, y })[0];
  const down = (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || event.offsetX > box.current.clientWidth) return;
    lasso.current = {
      from: spot(event),
      moved: false,
      before: toggles || event.ctrlKey || event.metaKey || event.shiftKey ? new Set(chosen) : new Set(),
    };
  };
  const dragged = (event) => {
    const start = lasso.current;
    if (!start) return;
    const to = spot(event);
    if (!start.moved && Math.hypot(to.x - start.from.x, to.y - start.from.y) < 6) return;
    if (!start.moved) {
      start.moved = true;
      box.current.setPointerCapture(event.pointerId);
    }
    const edge = box.current.getBoundingClientRect();
    if (event.clientY > edge.bottom - 30) box.current.scrollTop += 24;
    else if (event.clientY < edge.top + 30) box.current.scrollTop -= 24;
    setFrame({ from: start.from, to });
    const inside = touched(geometry, start.from, to).map(idOf);
    onChoose((set) => {
      set.clear();
      for (const id of start.before) set.add(id);
      for (const id of inside) set.add(id);
    });
  };
  const up = (event) => {
    const start = lasso.current;
    lasso.current = null;
    setFrame(null);
    if (!start || start.moved) return;
    const place = placeAt(spot(event));
    if (place === undefined) {
      if (!toggles) only([]);
      return;
    }
    setActive(place);
    if (event.shiftKey) only(range(anchor.current, place));
    else if (toggles || event.ctrlKey || event.metaKey) {
      toggle(place);
      anchor.current = place;
    } else {
      only([idOf(place)]);
      anchor.current = place;
    }
  };
  const tapped = (event) => {
    // fingers choose by a tap, as there is no Ctrl
    if (event.pointerType !== "touch") return;
    const place = placeAt(spot(event));
    if (place !== undefined) {
      setActive(place);
      toggle(place);
    }
  };
  const opened = (event) => {
    const place = placeAt(spot(event));
    if (place !== undefined) onOpen(idOf(place));
  };

  const shown = useMemo(() => Array.from(rows.subarray(first * columns, last * columns)), [rows, first, last, columns]);
  return html`
    <div
      ref=${box}
      class=${`scroll grid ${size} ${kind}`}
      role="listbox"
      aria-multiselectable="true"
      aria-label=${label}
      tabindex="0"
      aria-activedescendant=${
        rows.length && focus >= first * columns && focus < last * columns ? `tile-${idOf(focus)}` : undefined
      }
      onScroll=${scrolled}
      onKeyDown=${keyed}
      onPointerDown=${down}
      onPointerMove=${dragged}
      onPointerUp=${up}
      onClick=${tapped}
      onDblClick=${opened}
    >
      <div class="all" role="presentation" style=${{ height: `${lines * tileHeight}px` }}>
        <div
          class="rows"
          role="presentation"
          style=${{ transform: `translateY(${first * tileHeight}px)`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, gridAutoRows: `${tileHeight}px` }}
        >
          ${shown.map((row, number) => {
            const place = first * columns + number;
            return html`
              <${Tile}
                key=${documents.id[row]}
                row=${row}
                place=${place}
                total=${rows.length}
                active=${place === focus}
                chosen=${chosen.has(documents.id[row])}
                withStrip=${size !== "small"}
              />
            `;
          })}
        </div>
        ${
          frame &&
          html`
            <div
              class="lasso"
              style=${{
                left: `${Math.min(frame.from.x, frame.to.x)}px`,
                top: `${Math.min(frame.from.y, frame.to.y)}px`,
                width: `${Math.abs(frame.to.x - frame.from.x)}px`,
                height: `${Math.abs(frame.to.y - frame.from.y)}px`,
              }}
            ></div>
          `
        }
      </div>
    </div>
  `;
}
