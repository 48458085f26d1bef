/** Texts: one catalogue per language; what was said in one language is said again when the other is chosen. */

export const LANGUAGES = ['zh-CN', 'en'];
const STORE = 'kongzhong.language';
const ATTRIBUTES = { i18nLabel: 'aria-label', i18nPlaceholder: 'placeholder', i18nTitle: 'title', i18nAlt: 'alt' };

/** Fires `change` when the language changed and the page already speaks it. */
export const changes = new EventTarget();

let texts = {};
let current = LANGUAGES[0];
const parameters = new WeakMap();

export const language = () => current;

function remembered() {
  try {
    const stored = localStorage.getItem(STORE);
    return LANGUAGES.includes(stored) ? stored : LANGUAGES[0];
  } catch {
    return LANGUAGES[0]; // storage may be forbidden on a school's machine
  }
}

async function fetchTexts(wanted) {
  const response = await fetch(`/static/i18n/${wanted}.json`);
  if (!response.ok) throw new Error(`texts: ${response.status}`);
  return response.json();
}

/** Load the remembered language and say everything that the page holds. */
export async function loadTexts() {
  current = remembered();
  texts = await fetchTexts(current);
  speak();
}

export async function setLanguage(wanted) {
  texts = await fetchTexts(wanted);
  current = wanted;
  try {
    localStorage.setItem(STORE, wanted);
  } catch {
    // then it holds for this page only
  }
  speak();
  changes.dispatchEvent(new Event('change'));
}

/** The text of a key; `{name}` is filled from `values`, where a function is called. An unknown key is its own text. */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return String(typeof value === 'function' ? value() : value);
  });
}

export const has = (key) => texts[key] !== undefined;

/** Let an element say a text, now and after a change of language. Untouched when it says it already (aria-live). */
export function say(element, key, values) {
  if (element.dataset.i18n !== key) element.dataset.i18n = key;
  parameters.set(element, values);
  const text = t(key, values);
  if (element.textContent !== text) element.textContent = text;
}

/** Let an element say what is nobody's translation: a name, a title. */
export function sayPlain(element, text) {
  delete element.dataset.i18n;
  if (element.textContent !== text) element.textContent = text;
}

/** The accessible name, shown as a tip too. */
export function label(element, key) {
  element.dataset.i18nLabel = key;
  element.dataset.i18nTitle = key;
  element.setAttribute('aria-label', t(key));
  element.setAttribute('title', t(key));
}

/** Say every text under `root`. */
export function speak(root = document) {
  if (root === document) document.documentElement.lang = current;
  for (const element of root.querySelectorAll('[data-i18n]')) {
    const text = t(element.dataset.i18n, parameters.get(element));
    if (element.textContent !== text) element.textContent = text;
  }
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    const selector = `[data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
    for (const element of root.querySelectorAll(selector)) element.setAttribute(attribute, t(element.dataset[name]));
  }
}

// --- figures ---------------------------------------------------------------------------------------------------------

/** Seconds as a clock: 0:07, 12:34, 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const two = (value) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function dateTime(value) {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return '';
  const format = { year: 'numeric', month: 'long', day: 'numeric', hour: '2-digit', minute: '2-digit' };
  return new Intl.DateTimeFormat(current, format).format(date);
}

export function timeOfDay(value, seconds = false) {
  const format = { hour: '2-digit', minute: '2-digit', hour12: false, ...(seconds ? { second: '2-digit' } : {}) };
  return new Intl.DateTimeFormat(current, format).format(new Date(value));
}

export function bytes(value) {
  const steps = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  let [amount, step] = [value, 0];
  while (amount >= 1000 && step < steps.length - 1) [amount, step] = [amount / 1000, step + 1];
  const format = { style: 'unit', unit: steps[step], maximumFractionDigits: amount < 10 && step ? 1 : 0 };
  return new Intl.NumberFormat(current, format).format(amount);
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(current, { maximumFractionDigits: digits }).format(value);
}
