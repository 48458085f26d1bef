/** The pass of a page: lesson and token, from the link's fragment into sessionStorage; the address bar is cleaned. */

const STORE = 'kongzhong.pass.';
const PAGES = { teacher: '/teach', assistant: '/teach', classroom: '/classroom', inspector: '/classroom', ops: '/ops' };

/** What a token says of itself. For the page's words only: the server is the one that checks. */
export function claims(token) {
  try {
    const body = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
    const said = JSON.parse(new TextDecoder().decode(bytes));
    return said && typeof said === 'object' ? said : {};
  } catch {
    return {};
  }
}

function parse(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ''));
  const token = (fields.get('token') || '').trim();
  if (!token) return null;
  const lesson = fields.get('lesson') || claims(token).lesson || '';
  return { token, lesson, ...spokenFor(token) };
}

function spokenFor(token) {
  const { role = '', seat = '' } = claims(token);
  return { role, seat };
}

/**
 * The pass for one page, or null. A fragment wins over what the tab remembers. Pages that share a `name` share a pass.
 */
export function takePass(name) {
  const fresh = parse(location.hash);
  if (location.hash.includes('token=')) history.replaceState(history.state, '', location.pathname + location.search);
  // The same page opened with another link changes only the fragment, which loads nothing.
  window.addEventListener('hashchange', () => {
    if (location.hash.includes('token=')) location.reload();
  });
  try {
    if (fresh) sessionStorage.setItem(STORE + name, JSON.stringify(fresh));
    return fresh || JSON.parse(sessionStorage.getItem(STORE + name) || 'null');
  } catch {
    return fresh;
  }
}

export function link(page, { lesson, token }) {
  const fields = new URLSearchParams();
  if (lesson) fields.set('lesson', lesson);
  fields.set('token', token);
  return `${page}#${fields}`;
}

/** Where a pasted link or bare token leads: an address of ours, or null when it is neither. */
export function whereTo(pasted) {
  const text = pasted.trim();
  if (/^[\w-]+\.[\w-]+\.[\w-]*$/.test(text)) {
    const { lesson, role } = claims(text);
    return PAGES[role] ? link(PAGES[role], { lesson, token: text }) : null;
  }
  const at = text.indexOf('#');
  const pass = at < 0 ? null : parse(text.slice(at));
  const page = /\/(teach|classroom|library|ops|watch\/[\w-]{1,64})(?=#)/.exec(text);
  if (!pass) return null;
  return link(page ? page[0] : PAGES[pass.role] || '/classroom', pass);
}
