import { html } from "./vendor/preact.js";
export const Intake = () => html`<p>intake</p>`;
