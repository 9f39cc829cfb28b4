// Files that come from outside: chosen with a button, or dropped.
import { html, useRef, useState } from "./vendor/preact.js";

// A button that opens the browser's own dialog; more options are attributes of its field.
export function FileButton({ name, take, kind = "", disabled = false, children, ...rest }) {
  const field = useRef(null);
  return html`
    <button class=${kind} disabled=${disabled} onClick=${() => field.current.click()}>${children}</button>
    <input
      ref=${field}
      type="file"
      hidden
      data-name=${name}
      ...${rest}
      onChange=${(event) => {
        if (event.target.files.length) take([...event.target.files]);
        event.target.value = ""; // the same file can be chosen again
      }}
    />
  `;
}

// What an element needs so that something can be dropped on it: its class, and its events.
export function useDrop(take) {
  const [over, setOver] = useState(false);
  const drop = {
    onDragOver: (event) => {
      event.preventDefault();
      setOver(true);
    },
    onDragLeave: () => setOver(false),
    onDrop: (event) => {
      event.preventDefault();
      setOver(false);
      take(event.dataTransfer);
    },
  };
  return [over ? "over" : "", drop];
}
