// Jobs of the server: how far they are, what failed in them and why, stopping them and going on.
import { addressOf } from "./address.js";
import { post } from "./api.js";
import { count, decimal, say } from "./i18n.js";
import { Bar, Facts, Mark, tellError } from "./pieces.js";
import { isReadOnly, store, useStore } from "./store.js";
import { html, useState } from "./vendor/preact.js";

const UNITS = {
  pages: (number) => say("{} pages", number),
  documents: (number) => say("{} documents", number),
  steps: (number) => say("{} steps", number),
};
// What is said of a job that read files, by the keys of `embed --json`.
const COUNTED = {
  documents: () => say("documents"),
  pages: () => say("pages"),
  embedded: () => say("pages read"),
  skipped: () => say("pages that were there already"),
  duplicates: () => say("files that are there twice"),
  failed_files: () => say("files not read"),
};
// Of failures, by the words that `embed --json` has for them.
const KINDS = {
  encrypted: () => say("protected"),
  no_pages: () => say("no pages"),
  not_a_document: () => say("no document"),
  page_error: () => say("damaged page"),
  too_large: () => say("too large"),
  timeout: () => say("too slow"),
  memory: () => say("too little memory"),
  crash: () => say("crash"),
  unreadable: () => say("cannot be read"),
  needs_converter: () => say("needs a converter"),
  other_format: () => say("other format"),
  upload: () => say("not sent"),
};
const UPLOADED = /^.*[\\/]serve[\\/]uploads[\\/][^\\/]+[\\/]/; // where the server keeps what was sent to it
const isOver = (job) => !["running", "queued"].includes(job.state);

function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? say("{} s left", Math.ceil(seconds)) : say("{} min left", Math.ceil(seconds / 60));
}

async function ask(job, what) {
  try {
    const { job: now } = await post(`/jobs/${job.job}/${what}`).then((answer) =>
      answer.job?.job ? answer : { job: answer },
    );
    store.jobs.set(now.job, now);
  } catch (error) {
    tellError(error);
  }
}

export function Failures({ failures }) {
  const [most, setMost] = useState(20);
  if (!failures?.length) return null;
  return html`
    <details class="failures" open>
      <summary>
        ${failures.length === 1 ? say("One file could not be read") : say("{} files could not be read", count(failures.length))}
      </summary>
      <div class="wide" tabindex="0" role="region" aria-label=${say("Files that could not be read")}>
        <table>
          <thead>
            <tr>
              <th scope="col">${say("File")}</th>
              <th scope="col">${say("Kind")}</th>
              <th scope="col">${say("Reason")}</th>
            </tr>
          </thead>
          <tbody>
            ${failures.slice(0, most).map(
              (failure, number) => html`
                <tr key=${number}>
                  <td><bdi>${failure.path.replace(UPLOADED, "")}</bdi></td>
                  <td><bdi>${KINDS[failure.kind]?.() ?? failure.kind}</bdi></td>
                  <td><bdi>${failure.message}</bdi></td>
                </tr>
              `,
            )}
          </tbody>
        </table>
      </div>
      ${
        failures.length > most &&
        html`
          <button onClick=${() => setMost(most + 200)}>${say("Show more ({})", count(failures.length - most))}</button>
        `
      }
    </details>
  `;
}

// Files of kinds that are not read: no failures, but not there either.
const Unread = ({ kinds }) =>
  kinds.length > 0 &&
  html`
    <p class="dim small">
      ${say("Passed over, as files of their kind are not read: {}", kinds.map(([kind, number]) => `${say(kind)} ${count(number)}`).join(", "))}
    </p>
  `;

export function JobCard({ job }) {
  useStore();
  const { progress, result } = job;
  const numbers = Object.entries(COUNTED).filter(([name]) => result?.[name] > 0);
  return html`
    <article class="card job" aria-label=${job.title}>
      <header>
        <h3><bdi>${job.title}</bdi></h3>
        <${Mark} state=${job.state} />
        <span class="gap"></span>
        ${
          !isReadOnly() &&
          !isOver(job) &&
          html`
            <button onClick=${() => ask(job, "cancel")}>${say("Cancel")}</button>
          `
        }
        ${
          !isReadOnly() &&
          job.can_resume &&
          ["interrupted", "failed", "cancelled"].includes(job.state) &&
          html`
            <button class="main" onClick=${() => ask(job, "resume")}>${say("Go on")}</button>
          `
        }
      </header>
      ${
        !isOver(job) &&
        progress &&
        html`
          <div class="progress">
            <${Bar}
              share=${progress.total ? progress.done / progress.total : 0}
              kind="first"
              label=${say("{} of {} done", count(progress.done), count(progress.total ?? 0))}
            />
            <span class="number small">
              ${progress.total ? say("{} of {} done", count(progress.done), count(progress.total)) : progress.done > 0 && (UNITS[progress.unit] || UNITS.steps)(count(progress.done))}
            </span>
            ${
              progress.rate > 0 &&
              html`
                <span class="number small dim">${say("{} a second", decimal(progress.rate, 1))}</span>
              `
            }
            <span class="number small dim">${left(progress.seconds_left)}</span>
            <span class="dim small"><bdi>${progress.stage}</bdi></span>
          </div>
        `
      }
      ${
        job.message &&
        html`
          <p class=${job.state === "failed" ? "down" : "dim"}><bdi>${job.message}</bdi></p>
        `
      }
      ${
        isOver(job) &&
        job.kind === "embed" &&
        numbers.length > 0 &&
        html`
          <${Facts} facts=${numbers.map(([name, text]) => [text(), count(result[name])])} kind="small" />
          ${
            result.documents > 0 &&
            html`
              <p><a href=${addressOf("heap")}>${say("Show in the heap")}</a></p>
            `
          }
        `
      }
      ${(result?.advice ?? []).map(
        (line) => html`
          <p key=${line}><bdi>${line}</bdi></p>
        `,
      )}
      <${Failures} failures=${result?.failures} />
      <${Unread} kinds=${Object.entries(result?.unread || {})} />
    </article>
  `;
}
