import { html } from "./vendor/preact.js";
export const Refit = () => html`<p>refit</p>`;
