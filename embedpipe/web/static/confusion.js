import { html } from "./vendor/preact.js";
export const Confusion = () => html`<p>confusion</p>`;
