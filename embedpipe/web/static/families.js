// Families: documents of one layout. The odd ones are taken out, and one key gives the rest their type.
import { change } from "./address.js";
import { instead, Stale, useDerived } from "./derived.js";
import { CLOSED, closeDocument, openDocument, Opened } from "./document.js";
import { Grid, Thumb } from "./grid.js";
import { count, say, share } from "./i18n.js";
import { useKeys } from "./keys.js";
import { LongList } from "./list.js";
import { askType, label, NO_TYPE, nameOf, takeBack, useTakenBack } from "./labelling.js";
import { Empty, Type } from "./pieces.js";
import { isOpen, isReadOnly, sizesOf, store, typeName, typeNumber, useStore } from "./store.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";

const MOST_KEYS = 9;

const rowsOf = (family) =>
  Uint32Array.from(family.documents.map((id) => store.documents.rowOf.get(id)).filter((row) => row !== undefined));
// How many documents of a family are still to be labelled.
const open = (family) =>
  family.documents.reduce((number, id) => {
    const row = store.documents.rowOf.get(id);
    return number + (row !== undefined && isOpen(row) ? 1 : 0);
  }, 0);

// Types by key: what the family is taken for, the labels it has, then the types of most documents.
function offered(family) {
  const { documents } = store;
  const byCount = (numbers) => [...sizesOf(numbers)].sort((a, b) => b[1] - a[1]).map(([number]) => typeName(number));
  const rows = rowsOf(family);
  const labelled = Int32Array.from(rows, (row) => documents.label[row]);
  const answered = Int32Array.from(
    rows.filter((row) => documents.label[row] < 0),
    (row) => documents.type[row],
  );
  const names = [
    family.type,
    family.guess,
    ...byCount(labelled),
    ...byCount(answered),
    ...byCount(documents.label),
  ];
  return [...new Set(names.filter((name) => name && name !== NO_TYPE))].slice(0, MOST_KEYS);
}

function Family({ family, left, isHere, onOpen }) {
  const { document, page } = family.representative;
  const type = family.type || family.guess;
  return html`
    <button class="family" aria-current=${isHere ? "true" : undefined} onClick=${onOpen}>
      <span class="front"><${Thumb} document=${document} page=${page} /></span>
      <span class="told">
        <b class="number">
          ${family.documents.length === 1 ? say("One document") : say("{} documents", count(family.documents.length))}
        </b>
        ${
          type
            ? html`
                <${Type} name=${nameOf(type)} number=${typeNumber(type)} />
              `
            : html`
                <span class="dim">${say("no type yet")}</span>
              `
        }
        <span class="dim small number">
          ${left ? say("{} to label", count(left)) : say("all labelled")}${` · ${share(family.coherence)}`}
        </span>
      </span>
    </button>
  `;
}

export function Families({ values }) {
  useStore();
  const least = Number(values.least) || 2;
  const loaded = useDerived("families", "/families", { threshold: values.threshold, least });
  const [out, setOut] = useState(() => new Set());
  const families = useMemo(
    () => (loaded.value?.families || []).filter((family) => rowsOf(family).length),
    [loaded.value, store.documents],
  );
  const lefts = useMemo(() => new Map(families.map((one) => [one, open(one)])), [families, store.revision]);
  const hasLeft = (one) => lefts.get(one) > 0;
  const family = families.find((one) => String(one.family) === values.family) || families.find(hasLeft) || families[0];
  const place = families.indexOf(family);
  const wasOut = useRef(new Map()); // what was out of each family when it was labelled, by its first document
  useEffect(() => setOut(new Set(wasOut.current.get(family?.documents[0]))), [family?.documents[0]]);
  const types = useMemo(() => (family ? offered(family) : []), [family, store.revision]);
  const rows = useMemo(() => (family ? rowsOf(family) : new Uint32Array()), [family]);
  const rest = family
    ? [...rows].filter((row) => isOpen(row) && !out.has(store.documents.id[row])).map((row) => store.documents.id[row])
    : [];

  const goTo = (number) => {
    const next = families[Math.max(0, Math.min(families.length - 1, number))];
    if (next) change({ family: next.family, ...CLOSED });
  };
  const onward = () => {
    const next = [...families.slice(place + 1), ...families.slice(0, place)].find(hasLeft);
    if (next) change({ family: next.family, ...CLOSED });
  };
  const give = (type) => {
    if (!type || !rest.length || isReadOnly()) return;
    wasOut.current.set(family.documents[0], out);
    label(rest, type);
    onward();
  };
  useTakenBack(({ documents }) => {
    const taken = new Set(documents);
    const back = families.find((one) => one.documents.some((id) => taken.has(id)));
    if (back) change({ family: back.family, ...CLOSED });
  });
  const other = () =>
    askType({
      title: say("Type of the rest of this family ({})", count(rest.length)),
      done: (type) => type && give(type),
    });
  useKeys({
    ...Object.fromEntries(
      Array.from({ length: MOST_KEYS }, (_, number) => [String(number + 1), () => give(types[number])]),
    ),
    space: () => give(types[0]),
    n: () => give(NO_TYPE),
    l: other,
    t: other,
    j: () => goTo(place + 1),
    k: () => goTo(place - 1),
    s: onward,
    u: takeBack,
    ArrowDown: () => goTo(place + 1),
    ArrowUp: () => goTo(place - 1),
    Escape: () => {
      if (values.doc) closeDocument();
      else if (out.size) setOut(new Set());
      else return false;
      return true;
    },
  });
  const missing = instead(loaded, say("Families are being looked for."));
  if (missing) return missing;
  if (!family)
    return html`<${Empty} title=${say("No two documents have one layout.")}><p>${say("Documents that are alone are in the queue.")}</p></${Empty}>`;
  return html`
    <${Stale} value=${loaded.value} />
    <div class="families">
      <${LongList}
        items=${families}
        place=${place}
        label=${say("Families")}
        head=${html`
          <p class="dim small number">
            ${say("{} families, {} with documents to label", count(families.length), count(families.filter(hasLeft).length))}
          </p>
        `}
        draw=${(one) => html`
          <${Family}
            family=${one}
            left=${lefts.get(one)}
            isHere=${one === family}
            onOpen=${() => change({ family: one.family, ...CLOSED })}
          />
        `}
      />
      <section class="opened" aria-label=${say("Family {}", family.family)}>
        <div class="tools">
          <b class="number">
            ${family.documents.length === 1 ? say("One document") : say("{} documents", count(family.documents.length))}
          </b>
          <span class="dim number">${say("coherence {}", share(family.coherence))}</span>
          ${
            out.size > 0 &&
            html`
              <span class="dim number">${say("{} taken out", count(out.size))}</span>
            `
          }
          <span class="gap"></span>
          <button class="plain" onClick=${() => goTo(place - 1)}>
            <kbd>k</kbd>
            ${say("before")}
          </button>
          <button class="plain" onClick=${onward}>
            <kbd>s</kbd>
            ${say("later")}
          </button>
          <button class="plain" onClick=${() => goTo(place + 1)}>
            <kbd>j</kbd>
            ${say("next")}
          </button>
        </div>
        ${
          !isReadOnly() &&
          html`
            <div class="tools give" role="group" aria-label=${say("Label the rest")}>
              <span class="number">
                ${rest.length === 1 ? say("One document to label:") : say("{} documents to label:", count(rest.length))}
              </span>
              ${types.map(
                (type, number) => html`
                  <button
                    key=${type}
                    class=${number ? "" : "main"}
                    disabled=${!rest.length}
                    onClick=${() => give(type)}
                  >
                    <kbd>${number ? number + 1 : say("spacebar")}</kbd>
                    ${
                      number
                        ? html`
                            <${Type} name=${type} number=${typeNumber(type)} />
                          `
                        : html`
                            <bdi>${type}</bdi>
                          `
                    }
                  </button>
                `,
              )}
              <button disabled=${!rest.length} onClick=${other}>
                <kbd>l</kbd>
                ${say("another type")}
              </button>
              <button disabled=${!rest.length} onClick=${() => give(NO_TYPE)}>
                <kbd>n</kbd>
                ${say("none of these")}
              </button>
            </div>
          `
        }
        <p class="hint dim small">
          ${say("Click a document, or press x on it, to take it out: it keeps its label, and the rest gets the type.")}
        </p>
        <div class="beside">
          <${Grid}
            rows=${rows}
            chosen=${out}
            toggles=${true}
            kind="outs"
            label=${say("Documents of this family")}
            filter=${String(family.family)}
            onChoose=${(action) =>
              setOut((before) => {
                const next = new Set(before);
                action(next);
                return next;
              })}
            onOpen=${openDocument}
            keys=${{
              x: (id) =>
                setOut((before) => {
                  const next = new Set(before);
                  if (!next.delete(id)) next.add(id);
                  return next;
                }),
            }}
          />
          <${Opened} values=${values} />
        </div>
      </section>
    </div>
  `;
}
