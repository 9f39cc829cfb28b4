// Mistakes: which types are taken for which on held-out documents, and labels that are likely wrong beside their look-alikes.
import { addressOf, change } from "./address.js";
import { get, large, small } from "./api.js";
import { instead, Stale, useDerived } from "./derived.js";
import { CLOSED, closeDocument, openDocument, Opened } from "./document.js";
import { Grid } from "./grid.js";
import { count, say, share } from "./i18n.js";
import { useKeys } from "./keys.js";
import { label, nameOf } from "./labelling.js";
import { Empty, Facts, Picture, tellError, Type } from "./pieces.js";
import { counts, isReadOnly, rowOf, store, typeName, typeNumber, useEvents, useStore } from "./store.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";

const STRONG = 0.55; // a cell of this share, or more, has white text

// Half the 95 % interval of the share of documents that are told correctly.
function chance({ accuracy, matrix }) {
  const number = matrix.flat().reduce((sum, one) => sum + one, 0);
  return number ? 1.96 * Math.sqrt((accuracy * (1 - accuracy)) / number) : 0;
}

function Matrix({ value, cell }) {
  const sums = value.matrix.map((row) => row.reduce((sum, one) => sum + one, 0));
  const shade = (number, row, isRight) => {
    if (!number) return {};
    const part = number / sums[row];
    return {
      background: `color-mix(in srgb, var(${isRight ? "--good" : "--bad"}) ${Math.round(12 + 78 * part)}%, var(--card))`,
      color: part > STRONG ? "var(--card)" : "var(--ink)",
    };
  };
  return html`
    <div class="matrix" tabindex="0" role="region" aria-label=${say("Confusion matrix")}>
      <p class="dim small">${say("Rows are labels, columns are answers; each number opens its documents.")}</p>
      <table>
        <caption class="hidden-text">${say("Confusion matrix")}</caption>
        <thead>
          <tr>
            <td></td>
            ${value.types.map(
              (type) => html`
                <th key=${type} scope="col">
                  <span><bdi>${nameOf(type)}</bdi></span>
                </th>
              `,
            )}
          </tr>
        </thead>
        <tbody>
          ${value.types.map(
            (type, row) => html`
              <tr key=${type}>
                <th scope="row"><${Type} name=${nameOf(type)} number=${typeNumber(type)} /></th>
                ${value.matrix[row].map(
                  (number, column) => html`
                    <td key=${column}>
                      ${
                        number
                          ? html`
                              <button
                                class="cell number"
                                style=${shade(number, row, row === column)}
                                aria-pressed=${cell === `${type}\n${value.types[column]}`}
                                aria-label=${say("{}: label {}, answer {}", number, nameOf(type), nameOf(value.types[column]))}
                                onClick=${() => change({ cell: `${type}\n${value.types[column]}`, ...CLOSED })}
                              >
                                ${number}
                              </button>
                            `
                          : ""
                      }
                    </td>
                  `,
                )}
              </tr>
            `,
          )}
        </tbody>
      </table>
    </div>
  `;
}

function Cell({ value, cell }) {
  const [wanted, answer] = cell.split("\n");
  const documents = value.cells.find((one) => one.label === wanted && one.answer === answer)?.documents || [];
  const rows = useMemo(() => Uint32Array.from(documents.map(rowOf).filter((row) => row >= 0)), [value, cell]);
  return html`
    <div class="tools">
      <b class="number">${rows.length === 1 ? say("One document") : say("{} documents", count(rows.length))}</b>
      <span>${say("labelled")}</span>
      <${Type} name=${nameOf(wanted)} number=${typeNumber(wanted)} />
      <span>${say("answered")}</span>
      <${Type} name=${nameOf(answer)} number=${typeNumber(answer)} />
      <span class="gap"></span>
      <button class="plain" onClick=${() => change({ cell: "" })}>${say("Close")}</button>
    </div>
    <${Grid}
      rows=${rows}
      chosen=${new Set()}
      onChoose=${() => {}}
      onOpen=${openDocument}
      label=${say("Documents")}
      filter=${cell}
    />
  `;
}

function Side({ document, page, children }) {
  return html`
    <figure class="side">
      <div class="big"><${Picture} src=${large(document, page)} small=${small(document, page)} alt="" /></div>
      <figcaption>${children}</figcaption>
    </figure>
  `;
}

function Wrong({ wrong, place, total, accept, keep, move }) {
  const { look_alike: look } = wrong;
  return html`<div class="tools"><b class="number">${say("{} of {}", place + 1, total)}</b><bdi>${wrong.name}</bdi><span class="gap"></span><button class="plain" onClick=${() => move(-1)}><kbd>←</kbd></button><button class="plain" onClick=${() => move(1)}><kbd>→</kbd></button>
      ${
        !isReadOnly() &&
        html`
          <button class="main" onClick=${accept}>
            <kbd>${say("spacebar")}</kbd>
            ${say("change to {}", nameOf(wrong.suggested))}
          </button>
          <button onClick=${keep}>
            <kbd>k</kbd>
            ${say("keep {}", nameOf(wrong.label))}
          </button>
        `
      }</div>
    <div class="sides"><${Side} document=${wrong.document} page=${1}><${Type} name=${nameOf(wrong.label)} number=${typeNumber(wrong.label)} /> <span class="dim number">${say("label, {}", share(wrong.self_confidence))}</span></${Side}>
      ${look && html`<${Side} document=${look.document} page=${look.page}><${Type} name=${nameOf(wrong.suggested)} number=${typeNumber(wrong.suggested)} /> <span class="dim number">${say("look-alike, {}", share(look.score))}</span></${Side}>`}</div>`;
}

export function Confusion({ values }) {
  useStore();
  const loaded = useDerived("confusion", counts().checked > 0 && "/confusion", { kind: values.kind });
  const [likely, setLikely] = useState(null); // as it is after labels were confirmed, or that was taken back
  const [sent, setSent] = useState(() => new Set()); // documents that the server is being told to keep as they are
  const labelOf = (id) => {
    const row = rowOf(id);
    return row < 0 ? "" : typeName(store.documents.label[row]);
  };
  const wrongs = (likely || loaded.value?.likely_wrong || []).filter(
    (one) => !sent.has(one.document) && labelOf(one.document) === one.label,
  );
  useEffect(() => {
    asked.current++;
    setLikely(null);
  }, [loaded.value]);
  const asked = useRef(0); // an answer that another one has overtaken says nothing
  const lookAgain = async () => {
    const number = ++asked.current;
    try {
      const answer = await get("/confusion", { kind: values.kind, refresh: "false" });
      if (number === asked.current) setLikely(answer.likely_wrong);
    } catch (error) {
      tellError(error);
    }
  };
  useEvents(["labels"], lookAgain);
  const keep = async ({ document, label: type }) => {
    setSent((before) => new Set(before).add(document));
    await label([document], type, { state: "confirmed" });
    await lookAgain();
    setSent((before) => new Set([...before].filter((one) => one !== document)));
  };
  const found = wrongs.findIndex((one) => one.document === values.wrong);
  const place = Math.max(0, found);
  const wrong = wrongs[place];
  const move = (step) => {
    const next = wrongs[Math.max(0, Math.min(wrongs.length - 1, place + step))];
    if (next) change({ wrong: next.document, cell: "" });
  };
  const decided = (type) => {
    if (!wrong || isReadOnly() || values.cell) return;
    const next = wrongs[place + 1] || wrongs[place - 1];
    if (type === wrong.label) keep(wrong);
    else label([wrong.document], type);
    change({ wrong: next?.document || "" });
  };
  useKeys({
    space: () => decided(wrong?.suggested),
    k: () => decided(wrong?.label),
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    j: () => move(1),
    Escape: () => {
      if (values.doc) closeDocument();
      else if (values.cell) change({ cell: "" });
      else return false;
      return true;
    },
  });
  if (!counts().checked)
    return html`<${Empty} title=${say("Nothing is labelled yet.")}><p>${say("Label a few documents of each type in the families or the queue, then fit.")}</p><a class="button" href=${addressOf("queue")}>${say("Queue")}</a></${Empty}>`;
  const missing = instead(loaded, say("Held-out documents are being answered."));
  if (missing) return missing;
  const { value } = loaded;
  return html`
    <${Stale} value=${value} />
    <div class="beside">
      <div class="confusion">
        <section class="left" aria-label=${say("Confusion matrix")}>
          <${Facts}
            kind="large body"
            facts=${[
              [say("Right on held-out documents"), value.accuracy !== null && `${share(value.accuracy)} ± ${share(chance(value))}`],
              [say("Labels it doubts"), count(wrongs.length)],
            ]}
          />
          <${Matrix} value=${value} cell=${values.cell} />
        </section>
        <section class="right" aria-label=${values.cell ? say("Documents of the cell") : say("Labels it doubts")}>
          ${
            values.cell
              ? html`
                  <${Cell} key=${values.cell} value=${value} cell=${values.cell} />
                `
              : wrong
                ? html`
                    <${Wrong}
                      wrong=${wrong}
                      place=${place}
                      total=${wrongs.length}
                      move=${move}
                      accept=${() => decided(wrong.suggested)}
                      keep=${() => decided(wrong.label)}
                    />
                  `
                : html`<${Empty} title=${say("No label looks wrong.")}><p>${say("A number of the matrix opens its documents.")}</p></${Empty}>`
          }
        </section>
      </div>
      <${Opened} values=${values} />
    </div>
  `;
}
