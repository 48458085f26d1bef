/** The library: what was recorded, newest first, searched by title. */

import { api } from '../api.js';
import { card } from '../cards.js';
import { show } from '../dom.js';
import { changes, number, say, sayPlain, t } from '../i18n.js';
import { openPage, setTitle } from '../shell.js';
import { takePass } from '../token.js';

const PAGE = 24;
const PAUSE = 250; // ms after the last key before a search
const at = (id) => document.getElementById(id);

let pass;
let shown = 0;
let asked = 0;

async function load(more = false) {
  asked += 1;
  const mine = asked;
  if (!more) shown = 0;
  const query = at('q').value.trim();
  const fields = new URLSearchParams({ limit: String(PAGE), offset: String(shown), ...(query ? { q: query } : {}) });
  at('cards').setAttribute('aria-busy', 'true');
  try {
    const { total, resources } = await api(`/api/library?${fields}`, { token: pass && pass.token });
    if (mine !== asked) return; // a newer search is on its way
    const cards = resources.map((each) => card(each, pass));
    if (more) at('cards').append(...cards);
    else at('cards').replaceChildren(...cards);
    shown += resources.length;
    show(at('more'), shown < total);
    show(at('empty'), total === 0);
    if (total === 0) say(at('empty'), query ? 'library.nothing' : 'library.none', { query });
    if (total) say(at('count'), 'library.count', { count: () => number(total) });
    else sayPlain(at('count'), '');
  } catch (problem) {
    if (mine !== asked) return;
    if (problem.status === 401 && pass) {
      pass = null; // the link has expired; what is public is still to be seen
      await load(more);
      return;
    }
    show(at('empty'), true);
    say(at('empty'), 'library.unreachable');
  } finally {
    at('cards').removeAttribute('aria-busy');
  }
}

openPage(async () => {
  pass = takePass('library');
  const tellTitle = () => setTitle(t('library.heading'));
  changes.addEventListener('change', tellTitle);
  tellTitle();
  const asks = new URLSearchParams(location.search);
  at('q').value = asks.get('q') || '';
  let timer;
  at('q').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const query = at('q').value.trim();
      history.replaceState(null, '', query ? `?q=${encodeURIComponent(query)}` : location.pathname);
      load();
    }, PAUSE);
  });
  at('search').addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(timer);
    load();
  });
  at('more').addEventListener('click', () => load(true));
  await load();
});
