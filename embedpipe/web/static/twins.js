import { html } from "./vendor/preact.js";
export const Twins = () => html`<p>twins</p>`;
