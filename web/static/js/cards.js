/** A resource of the library as a card: poster, title, date, length. */

import { make } from './dom.js';
import { changes, clock, dateTime, sayPlain } from './i18n.js';
import { request } from './api.js';
import { link } from './token.js';

export const resourcePath = (id, what = '') => `/api/library/${encodeURIComponent(id)}${what ? `/${what}` : ''}`;

/** A poster that only some may see is fetched with the token: an <img> cannot carry one. */
async function loadPoster(image, resource, pass) {
  const path = resourcePath(resource.id, 'poster');
  if (resource.published) {
    image.src = path;
    return;
  }
  try {
    const response = await request(path, { headers: { Authorization: `Bearer ${pass.token}` } });
    if (!response.ok) throw new Error(String(response.status));
    const url = URL.createObjectURL(await response.blob());
    image.addEventListener('load', () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.remove();
  }
}

function poster(resource, pass) {
  const image = make('img', { alt: '', width: 320, height: 180, loading: 'lazy', decoding: 'async' });
  image.addEventListener('error', () => image.remove()); // the practice cell behind it stays
  const first = make('span.cell-letter', { 'aria-hidden': 'true' }, [...(resource.title || '?').trim()][0] || '?');
  const length = make('span.length');
  sayPlain(length, clock(resource.duration));
  const badge = resource.published ? null : make('span.badge', { key: 'library.unpublished' });
  const box = make('span.poster', {}, first, image, badge, length);
  loadPoster(image, resource, pass);
  return box;
}

const TOLD = 0.5; // seconds; shorter gaps nobody notices. The player's page lists them all.

export function card(resource, pass) {
  const path = `/watch/${encodeURIComponent(resource.id)}`;
  const date = make('span.date');
  const tellDate = () => sayPlain(date, dateTime(resource.recorded_at));
  changes.addEventListener('change', tellDate);
  tellDate();
  const missing = Math.max(0, ...(resource.gaps || []).map((gap) => gap.seconds));
  const gaps = missing >= TOLD ? make('span.badge.quiet', { key: 'library.gaps' }) : null;
  return make('li.resource', {},
    make('a.card-link', { href: pass ? link(path, pass) : path },
      poster(resource, pass),
      make('span.resource-title', {}, resource.title),
      make('span.resource-meta', {}, date, gaps)));
}
