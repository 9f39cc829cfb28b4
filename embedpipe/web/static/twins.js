// Twins: documents that are there twice. Two pages blink over each other, what differs is marked, and a list says which stay.
import { addressOf, change } from "./address.js";
import { large, small } from "./api.js";
import { instead, Stale, useDerived } from "./derived.js";
import { Thumb } from "./grid.js";
import { count, decimal, say } from "./i18n.js";
import { useKeys } from "./keys.js";
import { LongList } from "./list.js";
import { csv, download, Empty } from "./pieces.js";
import { rowOf, store, useStore } from "./store.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

const BLINK = 700; // milliseconds: slower than three times a second, which harms nobody
const SIDE = 1000; // pixels that differences are looked for at
const LEAST = 48; // of 255: below it a difference is noise of a scan or of JPEG

function picture(address) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error(say("no picture")));
    image.src = address;
  });
}

// Marks what differs between two pictures of a page; returns the share of pixels that do.
async function differences(canvas, one, other) {
  const images = await Promise.all([picture(one), picture(other)]);
  const scale = Math.min(1, SIDE / Math.max(images[0].naturalWidth, images[0].naturalHeight));
  const [width, height] = [images[0].naturalWidth, images[0].naturalHeight].map((value) =>
    Math.max(1, Math.round(value * scale)),
  );
  const data = images.map((image) => {
    const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, width, height);
    return pen.getImageData(0, 0, width, height).data;
  });
  const grey = (pixels, at) => 0.3 * pixels[at] + 0.59 * pixels[at + 1] + 0.11 * pixels[at + 2];
  const differs = new Uint8Array(width * height);
  // A pixel differs where no neighbour in the other picture has its shade: scans lie a little beside each other.
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = y * width + x,
        shade = grey(data[0], 4 * at);
      if (Math.abs(shade - grey(data[1], 4 * at)) < LEAST) continue;
      let closest = 255;
      for (const step of [-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
        closest = Math.min(closest, Math.abs(shade - grey(data[1], 4 * (at + step))));
      if (closest >= LEAST) differs[at] = 1;
    }
  }
  const sheet = new ImageData(width, height),
    out = new Uint32Array(sheet.data.buffer),
    reach = 2;
  let found = 0;
  for (let at = 0; at < differs.length; at++) {
    if (!differs[at]) continue;
    found++;
    for (let dy = -reach; dy <= reach; dy++)
      for (let dx = -reach; dx <= reach; dx++) {
        const near = at + dy * width + dx;
        if (near >= 0 && near < out.length) out[near] = 0xa01e26d8;
      } // red, a little transparent
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(sheet, 0, 0);
  return found / differs.length;
}

// A twin page is always shown; of twin documents, the page that was asked for.
const pageOf = (one, page) => one.page || page;

function Blink({ pair, page, marks, blinks, front }) {
  const canvas = useRef(null);
  const [share, setShare] = useState(null);
  const [first, second] = pair;
  useEffect(() => {
    setShare(null);
    if (!marks) return undefined;
    let isOld = false;
    const made = document.createElement("canvas");
    differences(made, large(first.document, pageOf(first, page)), large(second.document, pageOf(second, page))).then(
      (found) => {
        if (isOld) return;
        canvas.current.width = made.width;
        canvas.current.height = made.height;
        canvas.current.getContext("2d").drawImage(made, 0, 0);
        setShare(found);
      },
      () => {},
    );
    return () => {
      isOld = true;
    };
  }, [first, second, page, marks]);
  return html`
    <div class="blink" data-front=${front} data-differs=${share === null ? "" : share}>
      <div class="sheets">
        ${pair.map(
          (one, number) => html`
            <img
              key=${number}
              src=${large(one.document, pageOf(one, page))}
              alt=${number === front ? say("{}, page {}", one.path, pageOf(one, page)) : ""}
              class=${number === front ? "front" : ""}
              style=${{ backgroundImage: `url(${small(one.document, pageOf(one, page))})` }}
            />
          `,
        )}
        <canvas ref=${canvas} hidden=${!marks || share === null} aria-hidden="true"></canvas>
      </div>
      <p class="small" role="status">
        ${
          blinks
            ? ""
            : html`
                <bdi>${pair[front].path}</bdi>
              `
        }${" "}${
          marks && share !== null
            ? html`
                <b>
                  ${share < 0.00002 ? say("no difference is seen") : say("{} of the page differs", `${decimal(100 * share, share < 0.001 ? 3 : 1)} %`)}
                </b>
              `
            : ""
        }
      </p>
    </div>
  `;
}

// What one member is called in the address, where the one that stays is kept.
const keyOf = (one) => `${one.path}#${one.page || ""}`;
// Which member of a group stays: the one that was chosen here, else the one the server would keep.
const keptOf = (group, chosen) =>
  group.members.find((one) => chosen.has(keyOf(one))) || group.members.find((one) => one.keep) || group.members[0];
const KINDS = {
  exact: () => say("the same file"),
  document: () => say("the same document"),
  page: () => say("the same page"),
};
const pagesOf = (one) => (one.page ? 1 : store.documents.pages[rowOf(one.document)] || 1);

function keepList(groups, chosen) {
  const rows = groups.flatMap((group) =>
    group.members.map((one) => [
      group.group,
      group.kind,
      keptOf(group, chosen) === one ? "yes" : "no",
      one.path,
      one.page || "",
      one.agreement ?? "",
    ]),
  );
  download("keep-list.csv", csv([["group", "kind", "keep", "path", "page", "agreement"], ...rows]));
}

export function Twins({ values }) {
  useStore();
  const loaded = useDerived("twins", "/twins");
  const [front, setFront] = useState(0);
  const groups = loaded.value?.groups || [];
  const place = Math.max(
    0,
    groups.findIndex((one) => String(one.group) === values.group),
  );
  const group = groups[place];
  const chosen = new Set((values.keep || "").split("\n").filter(Boolean));
  const other = Math.min(Number(values.other) || 1, (group?.members.length || 2) - 1);
  const pair = group && group.members.length > 1 ? [group.members[0], group.members[other]] : null;
  const pages = pair ? Math.min(...pair.map(pagesOf)) : 1;
  const page = Math.min(pages, Number(values.page) || 1);
  const blinks = values.blink === "1",
    marks = values.marks !== "0";
  useEffect(() => {
    if (!blinks) return undefined;
    const timer = setInterval(() => setFront((before) => 1 - before), BLINK);
    return () => clearInterval(timer);
  }, [blinks]);
  const goTo = (number) => {
    const next = groups[Math.max(0, Math.min(groups.length - 1, number))];
    if (next) change({ group: next.group, other: "", page: "" });
  };
  const keep = (member) => {
    for (const one of group.members) chosen.delete(keyOf(one));
    if (!member.keep) chosen.add(keyOf(member));
    change({ keep: [...chosen].join("\n") });
  };
  useKeys({
    b: () => change({ blink: blinks ? "" : "1" }),
    space: () => setFront((before) => 1 - before),
    d: () => change({ marks: marks ? "0" : "" }),
    j: () => goTo(place + 1),
    k: () => goTo(place - 1),
    ArrowDown: () => goTo(place + 1),
    ArrowUp: () => goTo(place - 1),
    ArrowRight: () => change({ page: Math.min(pages, page + 1) }),
    ArrowLeft: () => change({ page: Math.max(1, page - 1) }),
  });
  const missing = instead(loaded, say("Documents that are there twice are being looked for."));
  if (missing) return missing;
  if (!group)
    return html`
      <${Stale} value=${loaded.value} />
      <${Empty} title=${say("No document is there twice.")} />
    `;
  return html`
    <${Stale} value=${loaded.value} />
    <div class="tools">
      <b class="number">${groups.length === 1 ? say("One group") : say("{} groups", count(groups.length))}</b>
      <span class="dim">${say("Nothing is deleted here.")}</span>
      <span class="gap"></span>
      <button aria-pressed=${blinks} onClick=${() => change({ blink: blinks ? "" : "1" })}>
        <kbd>b</kbd>
        ${say("blink")}
      </button>
      <button onClick=${() => setFront(1 - front)}>
        <kbd>${say("spacebar")}</kbd>
        ${say("the other one")}
      </button>
      <button aria-pressed=${marks} onClick=${() => change({ marks: marks ? "0" : "" })}>
        <kbd>d</kbd>
        ${say("mark what differs")}
      </button>
      <button onClick=${() => keepList(groups, chosen)}>${say("Keep-list as CSV")}</button>
    </div>
    <div class="twins">
      <${LongList}
        items=${groups}
        place=${place}
        label=${say("Groups")}
        draw=${(one) => html`
          <button
            class="family"
            aria-current=${one === group ? "true" : undefined}
            onClick=${() => change({ group: one.group, other: "", page: "" })}
          >
            <span class="front"><${Thumb} document=${one.members[0].document} page=${one.members[0].page || 1} /></span>
            <span class="told">
              <b class="number">${say("{} times", count(one.members.length))}</b>
              <span class="dim small">${KINDS[one.kind] ? KINDS[one.kind]() : one.kind}</span>
            </span>
          </button>
        `}
      />
      <section class="scroll seen" tabindex="0" aria-label=${say("Two pages over each other")}>
        ${
          pair &&
          html`
            <${Blink} pair=${pair} page=${page} marks=${marks} blinks=${blinks} front=${front} />
          `
        }
        ${
          pages > 1 &&
          html`
            <div class="actions">
              <button disabled=${page < 2} onClick=${() => change({ page: page - 1 })}>←</button>
              <span class="number">${say("page {} of {}", page, pages)}</span>
              <button disabled=${page >= pages} onClick=${() => change({ page: page + 1 })}>→</button>
            </div>
          `
        }
      </section>
      <aside class="panel" aria-label=${say("Which one stays")}>
        <h2>${say("Which one stays")}</h2>
        <fieldset class="members">
          <legend class="hidden-text">${say("Which one stays")}</legend>
          ${group.members.map(
            (one, number) => html`
              <div key=${keyOf(one)} class="member">
                <label>
                  <input
                    type="radio"
                    name="keep"
                    checked=${keptOf(group, chosen) === one}
                    onChange=${() => keep(one)}
                  />
                  <bdi>${one.path}</bdi>
                </label>
                <span class="dim small number">
                  ${one.page ? say("page {}", one.page) : pagesOf(one) === 1 ? say("one page") : say("{} pages", count(pagesOf(one)))}${` · ${decimal(one.agreement, 3)}`}
                </span>
                <span class="actions">
                  ${
                    number > 0 &&
                    number !== other &&
                    html`
                      <button onClick=${() => change({ other: number, page: "" })}>
                        ${say("Compare with this one")}
                      </button>
                    `
                  }
                  <a class="small" href=${addressOf("heap", { doc: one.document, page: one.page || "" })}>
                    ${say("Show in the heap")}
                  </a>
                </span>
              </div>
            `,
          )}
        </fieldset>
      </aside>
    </div>
  `;
}
