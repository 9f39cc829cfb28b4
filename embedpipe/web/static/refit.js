// Refit: a classifier is fitted with the checked labels, and what that changes is shown, to be kept or rolled back.
import { post } from "./api.js";
import { instead, Stale, useDerived } from "./derived.js";
import { closeDocument, openDocument, Opened } from "./document.js";
import { Thumb } from "./grid.js";
import { count, decimal, say, share } from "./i18n.js";
import { JobCard } from "./jobs.js";
import { useKeys } from "./keys.js";
import { nameOf } from "./labelling.js";
import { Facts, Mark, tellError, toast, Type } from "./pieces.js";
import { counts, isReadOnly, loadVersion, store, typeNumber, useEvents, useStore } from "./store.js";
import { html, useState } from "./vendor/preact.js";

const KINDS = {
  knn: () => say("nearest pages: a few seconds"),
  svm: () => say("support vectors: mostly the best, seconds to a minute"),
  head: () => say("logistic regression: seconds to a minute"),
};
const SHOWN = 60;

const known = (value) => value !== null && value !== undefined;
const points = (value) => !known(value) ? "" : `${value >= 0 ? "+" : "−"}${Math.abs(100 * value).toFixed(1)}`;
const direction = (value) => (!value || Math.abs(value) < 0.0005 ? "dim" : value > 0 ? "up" : "down");

function Fit({ start }) {
  const { classifier } = store.version;
  const found = counts();
  return html`
    <section class="card fit">
      <div>
        <h2>
          ${
            classifier
              ? html`
                  <bdi>${classifier.name}</bdi>
                  ${" "}${say("version {}", classifier.version)}
                `
              : say("No classifier yet")
          }
        </h2>
        <p class="dim">
          ${found.checked === 1 ? say("One checked label to learn from; suggested ones do not teach.") : say("{} checked labels to learn from; suggested ones do not teach.", count(found.checked))}
        </p>
      </div>
      ${
        !isReadOnly() &&
        html`
          <div class="kinds">
            ${Object.entries(KINDS).map(
              ([kind, text]) => html`
                <button
                  key=${kind}
                  class=${kind === (classifier?.name || "svm") ? "main" : ""}
                  onClick=${() => start(kind)}
                >
                  ${
                    kind === (classifier?.name || "svm") &&
                    html`
                      <kbd>f</kbd>
                    `
                  }
                  ${say("Fit {}", kind)}
                </button>
                <span class="dim small">${text()}</span>
              `,
            )}
          </div>
        `
      }
    </section>
  `;
}

function Types({ types }) {
  return html`
    <table class="changes">
      <caption class="hidden-text">${say("Types, better or worse")}</caption>
      <thead>
        <tr>
          <th scope="col">${say("Type")}</th>
          <th scope="col" class="number">${say("documents")}</th>
          <th scope="col" class="number">${say("before")}</th>
          <th scope="col" class="number">${say("after")}</th>
          <th scope="col" class="number">${say("change")}</th>
        </tr>
      </thead>
      <tbody>
        ${types.map(
          ({ type, documents, before, after, change: moved }) => html`
            <tr key=${type}>
              <td><${Type} name=${nameOf(type)} number=${typeNumber(type)} /></td>
              <td class="number">${count(documents)}</td>
              <td class="number">${before ? share(before.f1) : "–"}</td>
              <td class="number">${after ? share(after.f1) : "–"}</td>
              <td class=${`number ${direction(moved)}`}>${points(moved)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}

function Flips({ flips }) {
  const [most, setMost] = useState(SHOWN);
  return html`
    <ul class="flips">
      ${flips.slice(0, most).map(
        (flip) => html`
          <li key=${flip.document}>
            <button class="flip" onClick=${() => openDocument(flip.document)}>
              <span class="front"><${Thumb} document=${flip.document} /></span>
              <span class="told">
                <bdi class="name">${flip.name}</bdi>
                <span class="turn">
                  ${
                    flip.before.type !== flip.after.type &&
                    html`
                      <${Type} name=${nameOf(flip.before.type)} number=${typeNumber(flip.before.type)} />
                      <span aria-label=${say("becomes")}>→</span>
                    `
                  }
                  <${Type} name=${nameOf(flip.after.type)} number=${typeNumber(flip.after.type)} />
                </span>
                <span>
                  ${
                    flip.before.type === flip.after.type &&
                    html`
                      <${Mark} state=${flip.before.status} />
                      <span aria-label=${say("becomes")}> → </span>
                    `
                  }
                  <${Mark} state=${flip.after.status} />
                  ${
                    flip.label &&
                    html`
                      ${" "}
                      <span class=${flip.label === flip.after.type ? "up small" : "down small"}>
                        ${say("label: {}", nameOf(flip.label))}
                      </span>
                    `
                  }
                </span>
              </span>
            </button>
          </li>
        `,
      )}
    </ul>
    ${
      flips.length > most &&
      html`
        <button onClick=${() => setMost(most + 200)}>${say("Show more ({})", count(flips.length - most))}</button>
      `
    }
  `;
}

function Changes({ values, loaded }) {
  const { value } = loaded;
  const missing = instead(loaded, say("What changed is being found out."));
  if (missing) return missing;
  if (!value.from)
    return html`
      <p class="dim body">
        ${say("After the second fit, this shows which documents it answers otherwise, and which types got better or worse.")}
      </p>
    `;
  const { accuracy } = value;
  const moved = known(accuracy?.before) && known(accuracy.after) ? accuracy.after - accuracy.before : null;
  return html`
    <section class="what" aria-label=${say("What changed")}>
      <header class="tools">
        <h2>${say("What changed from version {} to version {}", value.from, value.to)}</h2>
        <span class="gap"></span>
        ${
          !isReadOnly() &&
          html`
            <button class="main" onClick=${values.keep}>
              <kbd>k</kbd>
              ${say("keep it")}
            </button>
            <button disabled=${!value.can_roll_back} onClick=${values.rollBack}>
              <kbd>b</kbd>
              ${say("roll back")}
            </button>
          `
        }
      </header>
      <div class="body">
        ${
          accuracy &&
          html`
            <${Facts}
              kind="large"
              facts=${[
                [say("Right on held-out documents, before"), share(accuracy.before, 1)],
                [say("after"), share(accuracy.after, 1)],
                [say("change"), points(moved), Math.abs(moved) < value.chance ? "dim" : direction(moved)],
                [say("Documents answered otherwise"), count(value.flips.length)],
              ]}
            />
          `
        }
        ${
          value.chance > 0 &&
          html`
            <p class="dim">
              ${say("{} documents were measured: a change of less than {} points may be chance.", count(value.measured), decimal(100 * value.chance, 1))}
            </p>
          `
        }
        ${
          value.note &&
          html`
            <p class="dim"><bdi>${value.note}</bdi></p>
          `
        }
        <div class="twoparts">
          <section class="card" tabindex="0" aria-label=${say("Types, better or worse")}><${Types} types=${value.types} /></section>
          <section>
            <h3>
              ${value.flips.length === 1 ? say("One document is answered otherwise") : say("{} documents are answered otherwise", count(value.flips.length))}
            </h3>
            <${Flips} flips=${value.flips} />
          </section>
        </div>
      </div>
    </section>
  `;
}

export function Refit({ values }) {
  useStore();
  const [job, setJob] = useState(null);
  const name = store.version.classifier?.name;
  const loaded = useDerived("changes", name && "/changes", { name });
  useEvents(["classifier"], loaded.again);
  const start = async (kind) => {
    if (isReadOnly()) return;
    if (!counts().checked) {
      toast(say("Label a few documents of each type in the families or the queue, then fit."));
      return;
    }
    try {
      setJob((await post("/refit", { kind })).job);
    } catch (error) {
      tellError(error);
    }
  };
  const keep = async () => {
    try {
      await post("/changes/keep", { name });
      toast(say("Kept: version {} stays in use.", loaded.value.to));
    } catch (error) {
      tellError(error);
    }
  };
  const rollBack = async () => {
    if (!loaded.value?.can_roll_back) return;
    try {
      const { version } = await post("/changes/rollback", { name });
      toast(say("Rolled back: version {} is in use again.", version));
      await loadVersion();
      loaded.again();
    } catch (error) {
      tellError(error);
    }
  };
  useKeys({
    f: () => start(name && name in KINDS ? name : "svm"),
    k: () => (loaded.value?.from ? keep() : false),
    b: rollBack,
    Escape: () => {
      if (!values.doc) return false;
      closeDocument();
      return true;
    },
  });
  const running =
    job && store.jobs.get(job.job)
      ? store.jobs.get(job.job)
      : [...store.jobs.values()].find((one) => one.kind === "refit" && ["running", "queued"].includes(one.state));
  return html`
    <div class="beside">
      <div class="scroll refit" tabindex="0" aria-label=${say("Refit")} role="region">
        <div class="body">
          <${Fit} start=${start} />
          ${
            running &&
            html`
              <${JobCard} key=${running.job} job=${running} />
            `
          }
        </div>
        <${Stale} value=${loaded.value} />
        ${
          name
            ? html`
                <${Changes} values=${{ keep, rollBack }} loaded=${loaded} />
              `
            : !counts().checked &&
              html`
                <p class="dim body">
                  ${say("Label a few documents of each type in the families or the queue, then fit.")}
                </p>
              `
        }
      </div>
      <${Opened} values=${values} />
    </div>
  `;
}
