// A long list of equal rows, of which only those in sight are drawn. It scrolls down, and sideways where the screen is narrow.
import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";

const BEYOND = 1; // screens that are drawn before and after what is seen
const AT_FIRST = 20; // rows, until their size is known

// Draws `items` by `draw(item, place)`; the row of `place` is brought into sight whenever it is another one.
export function LongList({ items, place, draw, label, head }) {
  const box = useRef(null);
  const [seen, setSeen] = useState({ isAcross: false, row: 0, start: 0, length: 0 });
  const { isAcross, row, start, length } = seen;
  const first = row ? Math.max(0, Math.floor((start - BEYOND * length) / row)) : 0;
  const last = row ? Math.min(items.length, Math.ceil((start + (1 + BEYOND) * length) / row)) : AT_FIRST;

  const measure = () => {
    const list = box.current.querySelector("ul");
    const one = list.querySelector("[data-place]");
    const isAcross = getComputedStyle(list).display === "flex";
    const [from, to, own] = [box.current, list, one].map((element) => element?.getBoundingClientRect());
    const next = isAcross
      ? { isAcross, row: own?.width || 0, start: from.left - to.left, length: from.width }
      : { isAcross, row: own?.height || 0, start: from.top - to.top, length: from.height };
    setSeen((before) => (Object.keys(next).every((name) => before[name] === next[name]) ? before : next));
    return next;
  };
  useLayoutEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const brought = useRef(-1);
  useLayoutEffect(() => {
    const { isAcross, row, start, length } = measure();
    if (!seen.row) return; // it has no length yet
    if (place === brought.current && start < items.length * row) return; // it may have been scrolled since
    brought.current = place;
    const from = place * row - start; // where its row begins, and by how much it is out of sight
    const step = from < 0 ? from : Math.max(0, Math.min(from, from + row - length));
    if (step) box.current.scrollBy(isAcross ? { left: step } : { top: step });
  }, [place, items, isAcross, row > 0]);

  const space = (rows) => {
    const size = `${rows * row}px`;
    return rows > 0 && html`
      <li aria-hidden="true" style=${isAcross ? { flex: "none", width: size } : { height: size }}></li>
    `;
  };
  return html`
    <nav class="list scroll" ref=${box} aria-label=${label} tabindex="0" onScroll=${measure}>
      ${head}
      <ul>
        ${space(first)}
        ${items.slice(first, last).map(
          (item, number) => html`
            <li key=${first + number} data-place=${first + number} aria-setsize=${items.length} aria-posinset=${first + number + 1}>
              ${draw(item, first + number)}
            </li>
          `,
        )}
        ${space(items.length - last)}
      </ul>
    </nav>
  `;
}
