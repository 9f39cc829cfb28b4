// Intake: files are dropped, or a folder of the server is named; a job reads them, also when this page is closed.
import { get, post, send } from "./api.js";
import { FileButton, useDrop } from "./files.js";
import { count, say } from "./i18n.js";
import { Failures, JobCard } from "./jobs.js";
import { Bar, tellError, useLoaded } from "./pieces.js";
import { isReadOnly, store, useStore } from "./store.js";
import { html, useState } from "./vendor/preact.js";

const AT_ONCE = 2;
const SHOWN = 30;

// All files of what was dropped, also of folders in folders.
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push(
        await new Promise((done, failed) => {
          entry.file(done, failed);
        }),
      );
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => {
        reader.readEntries(done, failed);
      });
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

// Sends files two at a time, then starts the job that reads them.
async function upload(files, tell) {
  const failures = [];
  let batch,
    done = 0;
  const one = async (file) => {
    try {
      const answer = await send("/uploads", { name: file.name, batch }, file);
      batch ??= answer.batch;
    } catch (error) {
      failures.push({ path: file.name, kind: "upload", message: error.message });
    }
    tell({ done: ++done, total: files.length, failures: [...failures] });
  };
  const waiting = [...files];
  while (!batch && waiting.length) await one(waiting.shift()); // the first one opens the batch
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (waiting.length) await one(waiting.shift());
    }),
  );
  if (batch) await post("/embed", { batch });
}

function Drop() {
  const [state, setState] = useState(null);
  const take = async (files) => {
    if (!files.length) return;
    setState({ done: 0, total: files.length, failures: [] });
    try {
      await upload(files, setState);
    } catch (error) {
      tellError(error);
    }
  };
  const [over, drop] = useDrop(async (transfer) => take(await filesOf(transfer)));
  const isBusy = state && state.done < state.total;
  return html`
    <section class=${`card drop ${over}`} aria-label=${say("Add files")} ...${drop}>
      <h2>${say("Drop files or folders here")}</h2>
      <p class="dim">
        ${say("PDFs, scans, pictures, archives and mails. They are copied to this server and read once.")}
      </p>
      <div class="actions">
        <${FileButton} name="files" kind="main" multiple=${true} disabled=${isBusy} take=${take}>
          ${say("Choose files")}
        </${FileButton}>
        <${FileButton} name="folder" webkitdirectory=${true} disabled=${isBusy} take=${take}>
          ${say("Choose a folder")}
        </${FileButton}>
      </div>
      ${
        state &&
        html`
          <div class="progress" role="status">
            <${Bar} share=${state.done / state.total} label=${say("Files sent")} />
            <span class="number small">${say("{} of {} files sent", count(state.done), count(state.total))}</span>
          </div>
          <${Failures} failures=${state.failures} />
        `
      }
    </section>
  `;
}

function Inboxes() {
  const { value } = useLoaded((signal) => get("/inboxes", {}, signal), []);
  const [inbox, setInbox] = useState(0);
  const [folder, setFolder] = useState("");
  if (!value?.inboxes?.length) return null;
  const chosen = value.inboxes[inbox] || value.inboxes[0];
  const start = async () => {
    try {
      await post("/embed", { inbox: chosen.inbox, ...(folder ? { folder } : {}) });
    } catch (error) {
      tellError(error);
    }
  };
  return html`
    <section class="card inbox" aria-label=${say("Read a folder of the server")}>
      <h2>${say("Read a folder of the server")}</h2>
      <div class="actions">
        ${
          value.inboxes.length > 1 &&
          html`
            <select
              aria-label=${say("Folder")}
              value=${inbox}
              onChange=${(event) => {
                setInbox(Number(event.target.value));
                setFolder("");
              }}
            >
              ${value.inboxes.map(
                (one, number) => html`
                  <option value=${number}>${one.name}</option>
                `,
              )}
            </select>
          `
        }
        <select aria-label=${say("Folder in it")} value=${folder} onChange=${(event) => setFolder(event.target.value)}>
          <option value="">${say("all of {}", chosen.name)}</option>
          ${(chosen.folders || []).map(
            (one) => html`
              <option key=${one} value=${one}>${one}</option>
            `,
          )}
        </select>
        <button class="main" onClick=${start}>${say("Read it")}</button>
      </div>
      <p class="dim small">
        <bdi>${chosen.path}</bdi>
        ${" · "}${say("Only what is new is read.")}
      </p>
    </section>
  `;
}

export function Intake() {
  useStore();
  const jobs = [...store.jobs.values()].sort((a, b) => String(b.created).localeCompare(String(a.created)));
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${say("Intake")}>
      <div class="body narrow">
        ${
          !isReadOnly() &&
          html`
            ${
              store.version.can_upload &&
              html`
                <${Drop} />
              `
            }
            <${Inboxes} />
          `
        }
        <section class="jobs" aria-label=${say("Jobs")}>
          <h2>${say("Jobs")}</h2>
          ${
            jobs.length
              ? jobs.slice(0, SHOWN).map(
                  (job) => html`
                    <${JobCard} key=${job.job} job=${job} />
                  `,
                )
              : html`
                  <p class="dim">${say("No job has run yet.")}</p>
                `
          }
          <p class="dim small after">${say("Jobs go on when this page is closed, and after a crash where they were.")}</p>
        </section>
      </div>
    </div>
  `;
}
