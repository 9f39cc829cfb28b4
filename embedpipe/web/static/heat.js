// Which parts of a page its type rests on: a grid over the picture of the page, and what was found as a sentence.
import { get } from "./api.js";
import { say } from "./i18n.js";
import { useLoaded } from "./pieces.js";
import { html } from "./vendor/preact.js";

const DECIDES = 0.4; // a change of the log odds that is shown in full colour where no part changes them more

// From what the network saw, which may have been turned clockwise, to the picture of the page; both are unit squares.
const TURNED = { 90: "matrix(0 -1 1 0 0 1)", 180: "matrix(-1 0 0 -1 1 1)", 270: "matrix(0 1 -1 0 1 0)" };

// What the server found for a type; null where nobody wants to know, and while it is found out.
export function useHeat(wanted, document, page, type) {
  const key = wanted && type ? [document, page, type].join("\n") : "";
  const loaded = useLoaded(
    async (signal) =>
      key ? { key, found: await get(`/heatmap/${document}-${page}`, { type }, signal) } : { key, found: null },
    [key],
  );
  return { ...loaded, found: loaded.value?.key === key ? loaded.value.found : null, wanted: Boolean(key) };
}

export function HeatLayer({ found }) {
  if (!found?.grid) return null;
  const { rows, columns, drops } = found.grid;
  const { width, height, turned, region } = found.picture;
  const [left, top, right, bottom] = region;
  const most = Math.max(DECIDES, ...drops.flat().map(Math.abs));
  return html`
    <svg class="heat" viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${found.finding}>
      <g transform=${`scale(${width} ${height}) ${TURNED[turned] || ""}`}>
        <g transform=${`translate(${left} ${top}) scale(${right - left} ${bottom - top})`}>
          ${drops.map((line, row) =>
            line.map(
              (drop, column) => html`
                <rect
                  class=${drop > 0 ? "for" : "against"}
                  x=${column / columns}
                  y=${row / rows}
                  width=${1 / columns}
                  height=${1 / rows}
                  opacity=${(0.7 * Math.abs(drop)) / most}
                />
              `,
            ),
          )}
          ${found.boxes.map(
            ({ x0, y0, x1, y1 }) => html`
              <rect class="decides" x=${x0} y=${y0} width=${x1 - x0} height=${y1 - y0} />
            `,
          )}
        </g>
      </g>
    </svg>
  `;
}

export function HeatNote({ heat }) {
  if (!heat.wanted) return null;
  if (heat.error)
    return html`
      <p class="heatnote" role="alert">
        <bdi>${heat.error.message}</bdi>
        <button class="small" onClick=${heat.again}>${say("Try again")}</button>
      </p>
    `;
  return html`
    <p class="heatnote" role="status">
      ${
        heat.found
          ? html`
              <bdi>${heat.found.finding}</bdi>
              ${" "}
              <span class="dim">${say("The page is asked by itself: orange speaks for the type, blue against it.")}</span>
            `
          : html`
              <span class="spinner" aria-hidden="true"></span>
              ${" "}${say("The page is covered part by part …")}
            `
      }
    </p>
  `;
}
