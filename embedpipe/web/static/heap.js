// The heap: all documents as a grid, narrowed by filters, sorted, chosen, labelled and exported.
import { change, changeQuietly } from "./address.js";
import { closeDocument, openDocument, Opened } from "./document.js";
import { count, say } from "./i18n.js";
import { useKeys } from "./keys.js";
import { Grid, SIZES } from "./grid.js";
import { give, label, labelAsked, nameOf } from "./labelling.js";
import { csv, download, Empty, stateName, toast } from "./pieces.js";
import { clear, select, useSelection } from "./selection.js";
import { isOpen, isReadOnly, LABEL_STATES, sizesOfTypes, store, typeName, typeOf, useStore } from "./store.js";
import { html, useMemo } from "./vendor/preact.js";

const NO_TYPE_YET = " "; // no type is called so
const SORTS = {
  path: () => say("folder and name"),
  confidence: () => say("confidence"),
  margin: () => say("margin"),
  doubt: () => say("doubt"),
  novelty: () => say("novelty"),
  pages: () => say("pages"),
  name: () => say("name"),
};
// What is looked at first: the least confident, the closest decisions, the most doubtful, the most novel, the longest.
const FALLING = new Set(["doubt", "novelty", "pages"]);

// Rows that pass the filters of the address, in its order.
function filtered(values) {
  const { documents } = store;
  const { type, state, status, folder, text } = values;
  const wanted = type === undefined ? null : type === NO_TYPE_YET ? -1 : documents.types.indexOf(type);
  const stateNumber = state === undefined ? -1 : LABEL_STATES.indexOf(state === "none" ? "" : state);
  const statusNumber = status === undefined ? null : documents.statuses.indexOf(status);
  const folders =
    folder === undefined
      ? null
      : new Set(
          documents.folders
            .map((_, number) => number)
            .filter(
              (number) => documents.folders[number] === folder || documents.folders[number].startsWith(`${folder}/`),
            ),
        );
  const words = (text || "").toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const lowered = words.length ? documents.folders.map((one) => one.toLocaleLowerCase()) : [];
  const found = new Uint32Array(documents.count);
  let number = 0;
  for (let row = 0; row < documents.count; row++) {
    if (wanted !== null && typeOf(row) !== wanted) continue;
    if (stateNumber >= 0 && documents.state[row] !== stateNumber) continue;
    if (statusNumber !== null && documents.status[row] !== statusNumber) continue;
    if (folders && !folders.has(documents.folder[row])) continue;
    if (words.length) {
      const name = documents.name[row].toLocaleLowerCase();
      if (!words.every((word) => name.includes(word) || lowered[documents.folder[row]].includes(word))) continue;
    }
    found[number++] = row;
  }
  return sorted(found.subarray(0, number), values);
}

function sorted(rows, { sort, order }) {
  if (!sort || sort === "path") return order === "desc" ? rows.reverse() : rows;
  const { documents } = store;
  const falling = order ? order === "desc" : FALLING.has(sort);
  if (sort === "name") {
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    return rows.sort((a, b) => (falling ? -1 : 1) * compare(documents.name[a], documents.name[b]) || a - b);
  }
  const values = documents[sort];
  if (!values) return rows;
  const key = (row) => (Number.isNaN(values[row]) ? Infinity : falling ? -values[row] : values[row]); // unknown ones last
  return rows.sort((a, b) => {
    const first = key(a),
      second = key(b);
    return first < second ? -1 : first > second ? 1 : a - b;
  });
}

function exported(ids) {
  const { documents } = store;
  const rows = ids.map((id) => {
    const row = documents.rowOf.get(id);
    const folder = documents.folders[documents.folder[row]];
    const number = (value, digits = 4) => (Number.isNaN(value) ? "" : Number(value).toFixed(digits));
    return [
      folder ? `${folder}/${documents.name[row]}` : documents.name[row],
      typeName(documents.label[row]),
      LABEL_STATES[documents.state[row]],
      typeName(documents.type[row]),
      documents.status[row] < 0 ? "" : documents.statuses[documents.status[row]],
      number(documents.confidence[row]),
      number(documents.margin[row]),
      number(documents.novelty[row]),
      documents.pages[row],
      id,
    ];
  });
  download(
    "selection.csv",
    csv([
      ["path", "label", "label_state", "type", "status", "confidence", "margin", "novelty", "pages", "document"],
      ...rows,
    ]),
  );
}

function Choice({ name, title, value, options, all }) {
  return html`
    <select
      aria-label=${title}
      title=${title}
      value=${value ?? ""}
      class=${value ? "set" : ""}
      onChange=${(event) => change({ [name]: event.target.value, at: "" })}
    >
      <option value="">${all}</option>
      ${options.map(
        ([key, text]) => html`
          <option key=${key} value=${key}>${text}</option>
        `,
      )}
    </select>
  `;
}

function Filters({ values }) {
  const { documents } = store;
  const sizes = useMemo(sizesOfTypes, [store.revision]);
  const types = [...sizes]
    .filter(([number]) => number >= 0)
    .sort((a, b) => b[1] - a[1])
    .map(([number, size]) => [documents.types[number], `${nameOf(documents.types[number])} (${count(size)})`]);
  if (sizes.has(-1)) types.push([NO_TYPE_YET, `${say("no type")} (${count(sizes.get(-1))})`]);
  const folders = documents.folders.map((folder) => [folder, folder || "."]);
  const isFiltered = ["type", "state", "status", "folder", "text"].some((name) => values[name]);
  return html`
    <input
      type="search"
      placeholder=${say("Search names")}
      aria-label=${say("Search names")}
      value=${values.text || ""}
      onInput=${(event) => change({ text: event.target.value, at: "" })}
    />
    <${Choice} name="type" title=${say("Type")} value=${values.type} options=${types} all=${say("all types")} />
    <${Choice}
      name="state"
      title=${say("Label")}
      value=${values.state}
      options=${[
        ["none", say("not labelled")],
        ["suggested", say("suggested")],
        ["checked", say("checked")],
        ["partly", say("partly checked")],
      ]}
      all=${say("labelled or not")}
    />
    <${Choice}
      name="status"
      title=${say("Status")}
      value=${values.status}
      options=${documents.statuses.map((status) => [status, stateName(status)])}
      all=${say("any status")}
    />
    ${
      folders.length > 1 &&
      html`
        <${Choice}
          name="folder"
          title=${say("Folder")}
          value=${values.folder}
          options=${folders}
          all=${say("all folders")}
        />
      `
    }
    <${Choice}
      name="sort"
      title=${say("Sort by")}
      value=${values.sort}
      options=${Object.keys(SORTS)
        .filter((name) => name !== "path")
        .map((name) => [name, SORTS[name]()])}
      all=${SORTS.path()}
    />
    <button
      aria-label=${say("Other order")}
      title=${say("Other order")}
      onClick=${() => change({ order: (values.order || (FALLING.has(values.sort) ? "desc" : "asc")) === "asc" ? "desc" : "asc", at: "" })}
    >
      ${(values.order || (FALLING.has(values.sort) ? "desc" : "asc")) === "asc" ? "↑" : "↓"}
    </button>
    ${
      isFiltered &&
      html`
        <button
          class="plain"
          onClick=${() => change({ type: "", state: "", status: "", folder: "", text: "", at: "" })}
        >
          ${say("Show all")}
        </button>
      `
    }
  `;
}

export function SelectionBar({ ids, children }) {
  const chosenText = ids.length === 1 ? say("One document chosen") : say("{} documents chosen", count(ids.length));
  return html`
    <div class="tools chosen" role="region" aria-label=${say("Selection")}>
      <b class="number">${chosenText}</b>
      ${
        !isReadOnly() &&
        html`
          <button class="main" onClick=${() => labelAsked(ids)}>
            ${say("Label")}
            <kbd>l</kbd>
          </button>
          <button onClick=${() => acceptAnswers(ids)}>
            ${say("Accept the answers")}
            <kbd>a</kbd>
          </button>
        `
      }
      <button onClick=${() => exported(ids)}>${say("Export as CSV")}</button>
      ${children}
      <span class="gap"></span>
      <button class="plain" onClick=${clear}>
        ${say("Clear")}
        <kbd>Esc</kbd>
      </button>
    </div>
  `;
}

// What the classifier or a suggestion says becomes the checked label of those that have none.
export async function acceptAnswers(ids) {
  const labels = ids
    .map((document) => ({ document, row: store.documents.rowOf.get(document) }))
    .filter(({ row }) => typeOf(row) >= 0 && isOpen(row))
    .map(({ document, row }) => ({ document, type: typeName(typeOf(row)) }));
  if (!labels.length) toast(say("Nothing to accept: what is chosen is labelled, or has no answer."));
  else if (new Set(labels.map(({ type }) => type)).size === 1)
    await label(
      labels.map(({ document }) => document),
      labels[0].type,
    );
  else await give(labels, say("{} documents labelled as the classifier says", count(labels.length)));
}

// An arrow goes to the grid, which has its own keys.
const toGrid = () => document.querySelector(".grid")?.focus();

export function Heap({ values }) {
  useStore();
  const { chosen } = useSelection();
  const rows = useMemo(
    () => filtered(values),
    [store.revision, values.type, values.state, values.status, values.folder, values.text, values.sort, values.order],
  );
  const ids = [...chosen].filter((id) => store.documents.rowOf.has(id));
  const size = SIZES[values.size] ? values.size : "medium";
  useKeys({
    l: () => (ids.length ? labelAsked(ids) : false),
    a: () => (ids.length ? acceptAnswers(ids) : false),
    Enter: () => (ids.length === 1 ? openDocument(ids[0]) : false),
    ...Object.fromEntries(["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"].map((key) => [key, toGrid])),
    Escape: () => {
      if (values.doc) closeDocument();
      else if (ids.length) clear();
      else return false;
      return true;
    },
  });
  return html`
    <div class="tools">
      <${Filters} values=${values} />
      <span class="gap"></span>
      <span class="dim number" role="status">
        ${rows.length === store.documents.count ? say("{} documents", count(rows.length)) : say("{} of {} documents", count(rows.length), count(store.documents.count))}
      </span>
      <span class="sizes" role="group" aria-label=${say("Size of the pictures")}>
        ${Object.keys(SIZES).map(
          (one) => html`
            <button
              key=${one}
              class="plain"
              aria-pressed=${one === size}
              aria-label=${{ small: say("small pictures"), medium: say("pictures of medium size"), large: say("large pictures") }[one]}
              onClick=${() => change({ size: one === "medium" ? "" : one })}
            >
              <i class=${`box ${one}`}></i>
            </button>
          `,
        )}
      </span>
    </div>
    ${
      ids.length > 0 &&
      html`
        <${SelectionBar} ids=${ids}>
          ${
            ids.length === 1 &&
            values.doc !== ids[0] &&
            html`
              <button onClick=${() => openDocument(ids[0])}>
                ${say("Open")}
                <kbd>Enter</kbd>
              </button>
            `
          }
        </${SelectionBar}>
      `
    }
    <div class="beside">
      ${
        rows.length
          ? html`
              <${Grid}
                rows=${rows}
                size=${size}
                chosen=${chosen}
                onChoose=${select}
                at=${values.at}
                label=${say("Documents")}
                filter=${[values.type, values.state, values.status, values.folder, values.text, values.sort, values.order].join("\n")}
                onOpen=${openDocument}
                onMove=${(at) => changeQuietly({ at })}
              />
            `
          : html`<${Empty} title=${say("No document passes these filters.")}>
        <button onClick=${() => change({ type: "", state: "", status: "", folder: "", text: "", at: "" })}>${say("Show all")}</button></${Empty}>`
      }
      <${Opened} values=${values} />
    </div>
  `;
}
