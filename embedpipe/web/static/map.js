import { html } from "./vendor/preact.js";
export const Map = () => html`<p>map</p>`;
