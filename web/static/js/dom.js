/** Elements without markup strings: make, find, show, fill. */

import { label, say } from './i18n.js';
import { icon } from './icons.js';

export const $ = (selector, root = document) => root.querySelector(selector);

/** `make('p.note', {key, …}, child, …)`: `key` is said with `values`, `name` labels, the rest are attributes. */
export function make(what, { key, values, name, on = {}, ...attributes } = {}, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    element.setAttribute(attribute, value === true ? '' : value);
  }
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  if (key) say(element, key, values);
  if (name) label(element, name);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button with an icon and, unless it is only an icon, words. */
export function button(what, { icon: drawn, key, name, values, on, ...rest }) {
  const words = key ? make('span', { key, values }) : null;
  return make(what, { type: 'button', name, on, ...rest }, drawn ? icon(drawn) : null, words);
}

/** Replace an element's icon; nothing happens when it is drawn already. */
export function setIcon(element, name) {
  const old = element.querySelector('svg.icon');
  if (old && old.dataset.name === name) return;
  const fresh = icon(name);
  if (old) old.replaceWith(fresh);
  else element.prepend(fresh);
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** Draw the icons that the HTML asks for by `data-icon`. */
export function drawIcons(root = document) {
  for (const element of root.querySelectorAll('[data-icon]')) setIcon(element, element.dataset.icon);
}
