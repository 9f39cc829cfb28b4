// The queue: one document after the other, what teaches most first. A key decides, and the next page is there already.
import { addressOf, changeQuietly } from "./address.js";
import { get, large, small } from "./api.js";
import { Candidates, Labelled, marginOf, noveltyOf, PageStrip, Reason } from "./document.js";
import { Thumb } from "./grid.js";
import { HeatLayer, HeatNote, useHeat } from "./heat.js";
import { count, decimal, say, share } from "./i18n.js";
import { useKeys } from "./keys.js";
import { prefetch } from "./loader.js";
import { askType, NO_TYPE, nameOf, takeBack, useTakenBack } from "./labelling.js";
import { Empty, Facts, Failed, Icon, Picture, prefetchLarge, tellUnsaved, Type, Waiting } from "./pieces.js";
import { isOpen as isOpenRow, isReadOnly, rowOf, setLabels, store, toAsk, typeNumber, useEvents, useStore } from "./store.js";
import { html, useCallback, useEffect, useRef, useState } from "./vendor/preact.js";

const AHEAD = 4; // pages whose large pictures are fetched before they are shown
const BATCH = 24;

const isOpen = (item) => {
  const row = rowOf(item.document);
  return row < 0 || isOpenRow(row);
};

// Items to come; more are fetched long before they run out.
function useQueue(first) {
  const [items, set] = useState(null);
  const [error, setError] = useState(null);
  const skipped = useRef(new Set());
  const busy = useRef(false);
  const latest = useRef([]);
  latest.current = items || [];
  const load = useCallback(async (anew = false, wanted) => {
    if (busy.current && !anew) return;
    busy.current = true;
    try {
      const held = anew ? [] : latest.current.map((item) => item.document);
      const answer = await get("/queue", {
        limit: BATCH,
        skip: [...skipped.current, ...held].slice(-200).join(","),
        first: wanted,
      });
      set((before) => {
        const kept = anew || !before ? [] : before;
        const known = new Set(kept.map((item) => item.document));
        return [
          ...kept,
          ...answer.items.filter((item) => !known.has(item.document) && !skipped.current.has(item.document)),
        ];
      });
      setError(null);
    } catch (problem) {
      setError(problem);
    }
    busy.current = false;
  }, []);
  useEffect(() => {
    load(true, first);
  }, []);
  return { items, set, error, load, skipped: skipped.current };
}

function usePrefetched(items) {
  useEffect(() => {
    const next = items.slice(0, AHEAD + 1);
    prefetchLarge(next.slice(1).map(({ document }) => large(document)));
    prefetch(
      next.flatMap((item) => [
        small(item.document),
        ...(item.nearest || []).map((look) => small(look.document, look.page)),
      ]),
    );
  }, [items[0]?.document, items.length]);
}

function Why({ item }) {
  const facts = [
    marginOf(item.margin),
    [say("Doubt"), decimal(item.doubt), "", say("how much its label would teach: the highest are asked about first")],
    noveltyOf(item.novelty),
  ];
  return html`
    <section class="why">
      <h3>${say("Why it is asked")}</h3>
      <${Reason} ...${item} />
      <${Facts} facts=${facts} kind="small" />
    </section>
    ${
      item.nearest?.length > 0 &&
      html`
        <section>
          <h3>${say("The labelled pages that look most like it")}</h3>
          <ul class="looks">
            ${item.nearest.map(
              (look) => html`
                <li key=${`${look.document}-${look.page}`}>
                  <a
                    href=${addressOf("heap", { doc: look.document })}
                    aria-label=${say("{}, page {}", look.name, look.page)}
                  >
                    <${Thumb} document=${look.document} page=${look.page} />
                  </a>
                  <${Type} name=${nameOf(look.type)} number=${typeNumber(look.type)} />
                  <span class="dim small number">${share(look.score)}</span>
                </li>
              `,
            )}
          </ul>
        </section>
      `
    }
  `;
}

const Action = ({ key_: key, text, onClick, kind = "", pressed }) => html`
  <button class=${kind} onClick=${onClick} aria-pressed=${pressed}>
    <kbd>${key}</kbd>
    ${text}
  </button>
`;

export function Queue({ values }) {
  useStore();
  const { items, set, error, load, skipped } = useQueue(values.doc);
  const [decided, setDecided] = useState([]);
  const [page, setPage] = useState(1);
  const [heated, setHeated] = useState(false);
  const open = (items || []).filter(isOpen);
  const item = open[0];
  usePrefetched(open);
  useEffect(() => {
    setPage(1);
    setHeated(false);
    changeQuietly({ doc: item?.document || "" });
  }, [item?.document]);
  useEffect(() => {
    if (items && open.length < BATCH / 2) load();
  }, [open.length]);
  useEvents(["answers", "classifier", "documents"], () => load(true));
  const type = item?.candidates?.[0]?.type;
  const heat = useHeat(heated, item?.document, page, type);

  const drop = (one) => set((before) => before.filter((other) => other.document !== one.document));
  const decide = (type) => {
    if (!item || isReadOnly() || !type) return;
    setDecided((before) => [...before.slice(-50), item]);
    drop(item);
    setLabels([{ document: item.document, type }]).catch((problem) => {
      tellUnsaved(problem);
      setDecided((before) => before.filter((one) => one !== item));
      load(true, item.document);
    });
  };
  useTakenBack(({ documents }) => {
    const last = decided[decided.length - 1];
    if (!last || documents[0] !== last.document) return load(true, documents[0]);
    setDecided((before) => before.slice(0, -1));
    return set((before) => [last, ...before.filter((one) => one.document !== last.document)]);
  });
  const skip = () => {
    if (item) {
      skipped.add(item.document);
      drop(item);
    }
  };
  const fresh = () => askType({ title: say("New type"), isNew: true, done: decide });
  const other = () => askType({ title: say("Type of this document"), done: (type) => type && decide(type) });
  const candidates = item?.candidates || [];
  const wanted = item?.label || candidates[0]?.type;
  const heats = () => item && setHeated((before) => !before);
  useKeys({
    ...Object.fromEntries(
      Array.from({ length: 9 }, (_, number) => [String(number + 1), () => decide(candidates[number]?.type)]),
    ),
    space: () => decide(wanted),
    n: () => decide(NO_TYPE),
    t: fresh,
    l: other,
    u: takeBack,
    s: skip,
    h: heats,
    ArrowRight: () => item && setPage((before) => Math.min(item.pages, before + 1)),
    ArrowLeft: () => setPage((before) => Math.max(1, before - 1)),
  });
  if (error && !item)
    return html`
      <${Failed} error=${error} retry=${() => load(true)} />
    `;
  if (!items)
    return html`
      <${Waiting} />
    `;
  if (!item) {
    return html`<${Empty} title=${skipped.size ? say("All others are decided.") : say("Nothing is left to decide.")}>
      ${
        skipped.size > 0 &&
        html`
          <button
            class="main"
            onClick=${() => {
              skipped.clear();
              load(true);
            }}
          >
            ${say("Show the skipped ones again ({})", count(skipped.size))}
          </button>
        `
      }
      ${
        decided.length > 0 &&
        !isReadOnly() &&
        html`
          <button onClick=${takeBack}>
            <kbd>u</kbd>
            ${say("Take the last one back")}
          </button>
        `
      }
      <p>${say("Refit to see what these labels change.")}</p><a class="button" href=${addressOf("refit")}>${say("Refit")}</a></${Empty}>`;
  }
  return html`
    <div class="queue" data-document=${item.document}>
      <section class="stage" aria-label=${say("Page {}", page)}>
        <div class="big">
          <${Picture}
            key=${item.document}
            src=${large(item.document, page)}
            small=${small(item.document, page)}
            alt=${say("Page {}", page)}
          />
          <${HeatLayer} found=${heat.found} />
        </div>
        <${HeatNote} heat=${heat} />
        <${PageStrip} id=${item.document} pages=${item.pages} page=${page} onPage=${setPage} />
      </section>
      <section class="answer" aria-label=${say("Decision")}>
        <header>
          <h2><bdi>${item.name}</bdi></h2>
          <p class="dim small number">
            ${say("{} left", count(toAsk()))}${decided.length > 0 ? ` · ${say("{} decided", count(decided.length))}` : ""}
          </p>
        </header>
        ${
          item.label &&
          html`
            <${Labelled} type=${item.label} state="suggested" />
          `
        }
        <${Candidates} candidates=${candidates} onPick=${decide} keys=${true} chosen=${item.label} />
        ${
          !isReadOnly() &&
          html`
            <div class="actions">
              ${
                wanted &&
                html`
                  <${Action}
                    key_=${say("spacebar")}
                    kind="main"
                    text=${say("accept {}", nameOf(wanted))}
                    onClick=${() => decide(wanted)}
                  />
                `
              }
              <${Action} key_="n" text=${say("none of these")} onClick=${() => decide(NO_TYPE)} />
              <${Action} key_="l" text=${say("another type")} onClick=${other} />
              <${Action} key_="t" text=${say("new type")} onClick=${fresh} />
              <${Action} key_="s" text=${say("skip")} onClick=${skip} />
              <${Action} key_="u" text=${say("undo")} onClick=${takeBack} />
            </div>
          `
        }
        ${
          !store.version.classifier &&
          html`
            <p class="dim">
              ${say("Label a few documents of each type in the families or the queue, then fit.")}${" "}
              <a href=${addressOf("refit")}>${say("Refit")}</a>
            </p>
          `
        }
        <${Why} item=${item} />
        <div class="actions">
          ${
            type &&
            html`
              <${Action} key_="h" text=${say("heat map of {}", nameOf(type))} pressed=${heated} onClick=${heats} />
            `
          }
          <a class="button" href=${addressOf("heap", { doc: item.document })}>
            <${Icon} name="heap" />
            ${say("Show in the heap")}
          </a>
        </div>
      </section>
    </div>
  `;
}
