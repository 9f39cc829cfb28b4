import { html } from "./vendor/preact.js";
export const Lookalikes = () => html`<p>lookalikes</p>`;
