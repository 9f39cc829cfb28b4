import { html } from "./vendor/preact.js";
export const Queue = () => html`<p>queue</p>`;
