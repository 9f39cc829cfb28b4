// One document beside a view: its pages, what is known of it, and what can be done with it.
import { addressOf, change } from "./address.js";
import { get, large, small } from "./api.js";
import { count, decimal, say, share } from "./i18n.js";
import { Thumb } from "./grid.js";
import { label, labelAsked, nameOf } from "./labelling.js";
import { Facts, Failed, Icon, Mark, Picture, Type, useLoaded } from "./pieces.js";
import { isReadOnly, LABEL_STATES, NONE, rowOf, store, typeName, typeNumber } from "./store.js";
import { html } from "./vendor/preact.js";

export function Candidates({ candidates, onPick, chosen, keys = false }) {
  return html`
    <ol class="candidates">
      ${candidates.slice(0, 9).map(
        ({ type, confidence }, number) => html`
          <li key=${type}>
            <button aria-pressed=${type === chosen} disabled=${isReadOnly()} onClick=${() => onPick(type)}>
              ${
                keys &&
                html`
                  <kbd>${number + 1}</kbd>
                `
              }
              <${Type} name=${nameOf(type)} number=${typeNumber(type)} />
              <span class="dim number">${share(confidence)}</span>
              <i style=${{ width: `${100 * (confidence || 0)}%` }}></i>
            </button>
          </li>
        `,
      )}
    </ol>
  `;
}

export function PageStrip({ id, pages, page, onPage }) {
  if (pages < 2) return null;
  return html`
    <div class="pagestrip" role="group" aria-label=${say("Pages")}>
      ${Array.from(
        { length: Math.min(pages, 200) },
        (_, number) => html`
          <button
            key=${number}
            class="plain"
            aria-pressed=${page === number + 1}
            aria-label=${say("Page {}", number + 1)}
            onClick=${() => onPage(number + 1)}
          >
            <${Thumb} document=${id} page=${number + 1} rank=${1} />
            <span class="small number dim">${number + 1}</span>
          </button>
        `,
      )}
    </div>
  `;
}

// The label that a document has, and whether somebody has checked it.
export const Labelled = ({ type, state }) => html`
  <p class="labelled">
    ${
      (type || state !== "partly") &&
      html`
        <${Type} name=${type ? nameOf(type) : say("several types")} number=${typeNumber(type)} />
      `
    }
    <${Mark} state=${state} />
  </p>
`;

// What the figures of an answer mean.
export const marginOf = (value) => [
  say("Margin"),
  decimal(value),
  "",
  say("how far the first type is ahead of the second one, from 0 to 1"),
];
export const noveltyOf = (value) => [
  say("Novelty"),
  decimal(value),
  "",
  say("how unlike all labelled documents it is: the higher, the more"),
];

// Why the classifier's answer is what it is.
export const Reason = ({ status, reason }) => html`
  <p>
    <${Mark} state=${status} />
    ${" "}
    <bdi>${reason || ""}</bdi>
  </p>
`;

function DocumentPanel({ id, page, close }) {
  const row = rowOf(id);
  const {
    value: found,
    error,
    again,
  } = useLoaded((signal) => get(`/documents/${id}`, {}, signal), [id, store.version?.classifier?.version]);
  if (error)
    return html`
      <aside class="panel" aria-label=${say("Document")}>
        <button class="plain closes" aria-label=${say("Close")} onClick=${close}><${Icon} name="close" /></button>
        <${Failed} error=${error} retry=${again} />
      </aside>
    `;
  const pages = row >= 0 ? store.documents.pages[row] : found?.pages || 1;
  const type = row >= 0 ? typeName(store.documents.label[row]) : found?.label;
  const state = row >= 0 ? LABEL_STATES[store.documents.state[row]] : found?.label_state;
  const folder = row >= 0 ? store.documents.folders[store.documents.folder[row]] : "";
  return html`
    <aside class="panel" aria-label=${say("Document")}>
      <header>
        <h2><bdi>${row >= 0 ? store.documents.name[row] : found?.path}</bdi></h2>
        <button class="plain" aria-label=${say("Close")} onClick=${close}><${Icon} name="close" /></button>
      </header>
      <p class="dim small"><bdi>${folder}</bdi></p>
      <div class="big"><${Picture} src=${large(id, page)} small=${small(id, page)} alt=${say("Page {}", page)} /></div>
      <${PageStrip}
        id=${id}
        pages=${pages}
        page=${page}
        onPage=${(number) => change({ page: number === 1 ? "" : number })}
      />
      ${
        state &&
        store.documents.state[row] !== NONE &&
        html`
          <${Labelled} type=${type} state=${state} />
        `
      }
      ${
        found?.answer &&
        html`
          <section>
            <h3>${say("What the classifier says")}</h3>
            <${Reason} ...${found.answer} />
            <${Candidates}
              candidates=${found.answer.candidates || []}
              chosen=${type}
              onPick=${(one) => label([id], one)}
            />
          </section>
        `
      }
      <div class="actions">
        ${
          !isReadOnly() &&
          html`
            <button class="main" onClick=${() => labelAsked([id])}>${say("Label")}</button>
          `
        }
        <a class="button" href=${addressOf("lookalikes", { document: id, page })}>${say("Look-alikes")}</a>
        ${
          pages > 1 &&
          html`
            <a class="button" href=${addressOf("piles", { document: id })}>${say("Cut this pile")}</a>
          `
        }
      </div>
      ${
        found &&
        html`
          <${Facts}
            facts=${[
              [say("Confidence"), share(found.answer?.confidence)],
              marginOf(found.answer?.margin),
              noveltyOf(found.answer?.novelty),
              [say("Pages"), count(found.pages)],
            ]}
          />
        `
      }
      ${
        found?.paths?.length > 1 &&
        html`
          <section>
            <h3>${say("The same file lies at")}</h3>
            <ul class="small">
              ${found.paths.map(
                (path) => html`
                  <li><bdi>${path}</bdi></li>
                `,
              )}
            </ul>
          </section>
        `
      }
    </aside>
  `;
}

export const CLOSED = { doc: "", page: "" }; // in the address
export const closeDocument = () => change(CLOSED);
export const openDocument = (id) => change({ doc: id, page: "" });

// The document that the address names, beside a view.
export const Opened = ({ values }) =>
  values.doc &&
  html`
    <${DocumentPanel} key=${values.doc} id=${values.doc} page=${Number(values.page) || 1} close=${closeDocument} />
  `;
