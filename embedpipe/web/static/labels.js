// Labels: how many of each type, what was done last and taking it back, suggestions of the classifier, labels.csv in and out.
import { addressOf } from "./address.js";
import { client, file, post, send } from "./api.js";
import { FileButton } from "./files.js";
import { count, say, tag } from "./i18n.js";
import { doAgain, nameOf, takeBack } from "./labelling.js";
import { download, Mark, stateName, tellError, toast, Type } from "./pieces.js";
import { CHECKED, inTurn, isReadOnly, reloadLabels, store, SUGGESTED, typeNumber, useStore } from "./store.js";
import { html, useEffect, useState } from "./vendor/preact.js";

const STATUSES = ["ok", "ambiguous"];

function sizes() {
  const { documents } = store,
    found = documents.types.map((name, number) => ({ name, number, checked: 0, suggested: 0 }));
  for (let row = 0; row < documents.count; row++) {
    const one = found[documents.label[row]];
    if (one && documents.state[row] === CHECKED) one.checked++;
    else if (one && documents.state[row] === SUGGESTED) one.suggested++;
  }
  return found
    .filter((one) => one.checked || one.suggested)
    .sort((a, b) => b.checked - a.checked || b.suggested - a.suggested);
}

function Types() {
  const found = sizes(),
    most = Math.max(1, ...found.map((one) => one.checked + one.suggested));
  if (!found.length)
    return html`
      <p class="dim">${say("Nothing is labelled yet.")}</p>
    `;
  return html`
    <table class="changes">
      <caption class="hidden-text">${say("Labels of each type")}</caption>
      <thead>
        <tr>
          <th scope="col">${say("Type")}</th>
          <th scope="col" class="number">${stateName("checked")}</th>
          <th scope="col" class="number">${stateName("suggested")}</th>
          <td></td>
        </tr>
      </thead>
      <tbody>
        ${found.map(
          (one) => html`
            <tr key=${one.name}>
              <td>
                <a class="bare" href=${addressOf("heap", { type: one.name })}>
                  <${Type} name=${nameOf(one.name)} number=${typeNumber(one.name)} />
                </a>
              </td>
              <td class="number">${count(one.checked)}</td>
              <td class="number">${count(one.suggested)}</td>
              <td class="bars">
                <span class="bar" aria-hidden="true">
                  <i style=${{ width: `${(100 * one.checked) / most}%` }}></i>
                  <i class="suggested" style=${{ width: `${(100 * one.suggested) / most}%` }}></i>
                </span>
              </td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}

function History() {
  const { batches = [], can_undo: canUndo, can_redo: canRedo } = store.history;
  return html`
    <section class="card history" aria-label=${say("What was done last")}>
      <header>
        <h2>${say("What was done last")}</h2>
        <span class="gap"></span>
        ${
          !isReadOnly() &&
          html`
            <button disabled=${!canUndo} onClick=${takeBack}>${say("Undo")}</button>
            <button disabled=${!canRedo} onClick=${doAgain}>${say("Redo")}</button>
          `
        }
      </header>
      ${
        batches.length
          ? html`
              <ul>
                ${batches.map(
                  (one) => html`
                    <li key=${one.token} class=${one.undone ? "undone" : ""}>
                      <time class="dim small number" datetime=${one.when}>
                        ${new Date(one.when).toLocaleTimeString(tag(), { hour: "2-digit", minute: "2-digit" })}
                      </time>
                      <span>
                        ${one.documents === 1 ? say("One document") : say("{} documents", count(one.documents))}
                      </span>
                      <bdi>
                        ${(one.types || [])
                          .slice(0, 4)
                          .map((type) => (type ? nameOf(type) : say("no type")))
                          .join(", ")}
                      </bdi>
                      ${
                        one.state !== "checked" &&
                        html`
                          <${Mark} state=${one.state} />
                        `
                      }
                      ${
                        one.undone &&
                        html`
                          <span class="dim small">${say("taken back")}</span>
                        `
                      }
                    </li>
                  `,
                )}
              </ul>
            `
          : html`
              <p class="dim">${say("Nothing was labelled from this page yet.")}</p>
            `
      }
    </section>
  `;
}

function Lists() {
  const [bad, setBad] = useState(null);
  const [list, setList] = useState(null);
  const read = async (given, partial = false) => {
    setBad(null);
    setList(given);
    try {
      const asked = { name: given.name, client, partial: partial ? "true" : undefined };
      const done = await inTurn(() => send("/labels.csv", asked, given, { kind: "text/csv" }));
      await reloadLabels();
      toast(say("{} labels taken from {}", count(done.changed), given.name), { action: takeBack, label: say("Undo") });
      if (done.bad?.length) setBad(done.bad);
    } catch (error) {
      if (error.body?.bad) setBad(error.body.bad);
      else tellError(error);
    }
  };
  const save = async () => {
    try {
      download("labels.csv", await file("/labels.csv"));
    } catch (error) {
      tellError(error);
    }
  };
  return html`
    <section class="card lists" aria-label=${say("Lists of labels")}>
      <h2>${say("Lists of labels")}</h2>
      <p class="dim">${say("As the commands label and embed --labels take them.")}</p>
      <div class="actions">
        <button onClick=${save}>${say("Export labels.csv")}</button>
        ${
          !isReadOnly() &&
          html`
            <${FileButton} name="labels" accept=".csv,.tsv,text/csv" take=${([one]) => read(one)}>
              ${say("Import a list")}
            </${FileButton}>
          `
        }
      </div>
      ${
        bad?.length > 0 &&
        html`
          <div role="alert">
            <p>
              ${bad.length === 1 ? say("One line cannot be taken:") : say("{} lines cannot be taken:", count(bad.length))}
            </p>
            <ul class="small">
              ${bad.slice(0, 20).map(
                (one) => html`
                  <li key=${one.line}>
                    ${say("line {}", one.line)}${": "}
                    <bdi>${one.value}</bdi>
                    ${" – "}
                    <bdi>${one.reason}</bdi>
                  </li>
                `,
              )}
            </ul>
            <button onClick=${() => read(list, true)}>${say("Take the other lines")}</button>
          </div>
        `
      }
    </section>
  `;
}

function Suggest() {
  const [wanted, setWanted] = useState(["ok"]);
  if (!store.version.classifier) return null;
  const take = async () => {
    try {
      const done = await inTurn(() => post("/suggestions", { status: wanted, client }));
      await reloadLabels();
      toast(say("{} documents have a suggested label", count(done.changed)), { action: takeBack, label: say("Undo") });
    } catch (error) {
      tellError(error);
    }
  };
  return html`
    <section class="card lists" aria-label=${say("Suggestions")}>
      <h2>${say("Suggestions")}</h2>
      <p class="dim">
        ${say("The answers of the classifier become suggested labels of documents without one. They do not teach until somebody has checked them.")}
      </p>
      <div class="actions">
        ${STATUSES.map(
          (status) => html`
            <label key=${status}>
              <input
                type="checkbox"
                checked=${wanted.includes(status)}
                onChange=${(event) => setWanted(event.target.checked ? [...wanted, status] : wanted.filter((one) => one !== status))}
              />
              ${" "}${stateName(status)}
            </label>
          `,
        )}
        <button class="main" disabled=${!wanted.length} onClick=${take}>${say("Suggest labels")}</button>
      </div>
    </section>
  `;
}

export function Labels() {
  useStore();
  useEffect(() => {
    reloadLabels().catch(tellError);
  }, []);
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${say("Labels")}>
      <div class="body twoparts">
        <section class="card"><${Types} /></section>
        <div class="column">
          <${History} />
          <${Lists} />
          ${
            !isReadOnly() &&
            html`
              <${Suggest} />
            `
          }
        </div>
      </div>
    </div>
  `;
}
