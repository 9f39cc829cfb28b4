import { html } from "./vendor/preact.js";
export const Piles = () => html`<p>piles</p>`;
