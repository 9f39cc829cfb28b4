// Results that the server makes in a job of its own (families, twins, the map, mistakes, changes): what is there is shown,
// and what is being made comes by itself.
import { addressOf } from "./address.js";
import { get } from "./api.js";
import { say } from "./i18n.js";
import { Bar, Empty, Failed, useLoaded, Waiting } from "./pieces.js";
import { store, useEvents, useStore } from "./store.js";
import { html } from "./vendor/preact.js";

// Without a path, nothing is asked for.
export function useDerived(what, path, values = {}) {
  const loaded = useLoaded(async (signal) => path && get(path, values, signal), [path, JSON.stringify(values)]);
  useEvents(["derived"], (event) => {
    if (event.event === "reset" || event.what === what) loaded.again();
  });
  return loaded;
}

export function JobLine({ job }) {
  useStore();
  const now = store.jobs.get(job?.job) || job;
  if (!now) return null;
  const { done, total, stage } = now.progress || {};
  return html`
    <div class="jobline">
      <span class="spinner" aria-hidden="true"></span>
      <bdi>${stage || now.title}</bdi>
      ${
        now.state === "queued" &&
        html`
          <span class="dim">${say("waits for the jobs before it")}</span>
        `
      }
      ${
        total > 0 &&
        html`
          <${Bar} share=${done / total} kind="first" />
          <span class="number small">${done} / ${total}</span>
        `
      }
    </div>
  `;
}

// What stands in place of a result that is not there; null where it is.
export function instead({ value, error, again }, title) {
  if (error && !value)
    return html`
      <${Failed} error=${error} retry=${again} />
    `;
  if (!value)
    return html`
      <${Waiting} />
    `;
  if (value.state === "pending") return html`<${Empty} title=${title}><${JobLine} job=${value.job} /></${Empty}>`;
  if (value.state === "failed")
    return html`<${Empty} title=${say("This could not be made.")}><p><bdi>${value.message}</bdi></p><button onClick=${again}>${say("Try again")}</button><a href=${addressOf("intake")}>${say("Jobs")}</a></${Empty}>`;
  return null;
}

export const Stale = ({ value }) =>
  value?.state === "stale"
    ? html`
        <div class="notice">
          ${say("This is being made anew; what is shown is from before.")}
          <${JobLine} job=${value.job} />
        </div>
      `
    : null;
