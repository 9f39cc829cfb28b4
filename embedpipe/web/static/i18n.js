// Sentences of ours are given to `say`, which shows them in the chosen language; {} is filled with a value.
// Their other side comes from the table that the command line has, by GET /translations.
const KEPT = "embedpipe-language";
export const LANGUAGES = { en: "English", zh: "中文" };
const TAGS = { en: "en", zh: "zh-CN" };
let words = {};
let chosen = preferred();
const listeners = new Set();

function preferred() {
  try {
    const kept = localStorage.getItem(KEPT);
    if (kept in LANGUAGES) return kept;
  } catch {
    /* a browser that keeps nothing asks its settings each time */
  }
  return (
    (navigator.languages || []).map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in LANGUAGES) || "en"
  );
}

export const language = () => chosen;

export function say(english, ...values) {
  let next = 0;
  // "[份]文档" is for where a number stands before it: the word alone is without its measure word.
  return (words[english]?.replace(/^\[\S\]/, "") || english).replace(
    /\{(\d*)(?::\w+)?\}/g,
    (_, number) => values[number ? number - 1 : next++],
  );
}

export async function use(wanted, ask) {
  const found = wanted === "en" ? {} : await ask(`/translations/${wanted}.json`);
  words = found;
  chosen = wanted;
  document.documentElement.lang = TAGS[wanted];
  try {
    localStorage.setItem(KEPT, wanted);
  } catch {
    /* as above */
  }
  for (const listener of listeners) listener();
}

export const tag = () => TAGS[chosen];
export const onLanguage = (listener) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

// Counts and shares as people of the language write them.
export const count = (value) => Number(value || 0).toLocaleString(TAGS[chosen]);
export const share = (value, digits = 0) =>
  value === null || value === undefined || Number.isNaN(value) ? "" : `${(100 * value).toFixed(digits)} %`;
export const decimal = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "" : Number(value).toFixed(digits);
