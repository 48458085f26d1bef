/** The landing page: what this is, where a link goes, what was recorded last. */

import { api } from '../api.js';
import { card } from '../cards.js';
import { make } from '../dom.js';
import { say, sayPlain, t } from '../i18n.js';
import { linkPanel, openPage } from '../shell.js';

const at = (id) => document.getElementById(id);
const SHOWN = 6;

openPage(async () => {
  // The four characters of the name stand in the cells a child learns to write in, in every language.
  const cell = (character) => make('span.cell', {}, make('span.cell-letter', {}, character));
  at('cells').append(...[...t('brand.characters')].map(cell));
  linkPanel(at('paste').parentElement);
  try {
    const { resources } = await api(`/api/library?limit=${SHOWN}`);
    at('cards').replaceChildren(...resources.map((each) => card(each, null)));
    if (resources.length) sayPlain(at('empty'), '');
    else say(at('empty'), 'library.none');
  } catch {
    say(at('empty'), 'library.unreachable');
  }
});
