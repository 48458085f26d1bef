/** What every page has: texts, brand, language switch, icons. `openPage(run)` is how a page begins. */

import { $, drawIcons, make } from './dom.js';
import { changes, language, LANGUAGES, loadTexts, say, setLanguage, t } from './i18n.js';
import { brandMark } from './icons.js';
import { claims, link, whereTo } from './token.js';

/** 中文 / English: both are always in sight, the one in use is pressed. */
function languageSwitch() {
  const group = make('div.languages', { role: 'group', 'data-i18n-label': 'shell.language' });
  const buttons = LANGUAGES.map((each) =>
    make('button', { type: 'button', lang: each, key: `language.${each}`, on: { click: () => setLanguage(each) } }));
  const mark = () => buttons.forEach((each) => each.setAttribute('aria-pressed', String(each.lang === language())));
  group.append(...buttons);
  changes.addEventListener('change', mark);
  mark();
  return group;
}

function fillHeader(header) {
  if (header.dataset.shell === 'languages') {
    header.append(languageSwitch());
    return;
  }
  const brand = make('a.brand', { href: '/' }, brandMark(), make('span.brand-name', { key: 'brand.name' }));
  const start = make('div.header-start', {}, brand);
  const end = make('div.header-end', {});
  if (header.dataset.nav !== undefined) {
    const here = location.pathname;
    const current = here === '/library' || here.startsWith('/watch/') ? 'page' : null;
    end.append(make('a.nav', { href: '/library', key: 'shell.library', 'aria-current': current }));
  }
  end.append(languageSwitch());
  header.prepend(start);
  header.append(end);
}

/** The title of the browser's tab. */
export function setTitle(...parts) {
  document.title = [...parts.filter(Boolean), t('brand.name')].join(' · ');
}

/** A panel for somebody without a usable link: says why, takes a pasted one. */
export function linkPanel(root) {
  const field = $('input', root);
  const trouble = $('[role=alert]', root);
  $('form', root).addEventListener('submit', (event) => {
    event.preventDefault();
    const target = whereTo(field.value);
    if (!target) {
      say(trouble, 'link.wrong');
      field.focus();
      return;
    }
    say(trouble, 'link.opening');
    location.assign(target); // another fragment of this very page: `takePass` hears of it and loads anew
  });
}

/** Load the texts, draw the header, run the page; the body shows when it has words. */
export async function openPage(run) {
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload(); // connections were closed when the page was left
  });
  try {
    await loadTexts();
  } finally {
    for (const header of document.querySelectorAll('[data-shell]')) fillHeader(header);
    drawIcons();
    document.documentElement.dataset.ready = '';
  }
  await run();
}

/** Keep the screen awake while `wanted()` says so; the browser drops the lock whenever the page is hidden. */
export function keepAwake(wanted) {
  let lock = null;
  const look = async () => {
    if (!('wakeLock' in navigator) || document.visibilityState !== 'visible') return;
    try {
      if (wanted() && (!lock || lock.released)) lock = await navigator.wakeLock.request('screen');
      else if (!wanted() && lock && !lock.released) await lock.release();
    } catch {
      // refused on low battery; a playing video keeps most screens on anyway
    }
  };
  document.addEventListener('visibilitychange', look);
  setInterval(look, 15_000);
  look();
  return look;
}

/** Hours until a token ends, or null when it does not say. */
export function hoursLeft(token) {
  const { exp } = claims(token);
  return typeof exp === 'number' ? (exp - Date.now() / 1000) / 3600 : null;
}

export { link };
