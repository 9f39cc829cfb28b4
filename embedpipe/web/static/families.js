import { html } from "./vendor/preact.js";
export const Families = () => html`<p>families</p>`;
