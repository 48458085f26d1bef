/** One resource: the player, its gaps, the download; publishing for those who may. */

import { api } from '../api.js';
import { resourcePath } from '../cards.js';
import { make, show } from '../dom.js';
import { bytes, changes, clock, dateTime, number, say, sayPlain } from '../i18n.js';
import { openPage, setTitle } from '../shell.js';
import { takePass } from '../token.js';

const MANAGERS = new Set(['teacher', 'assistant', 'ops']);
const at = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split('/').pop());

let pass;
let resource;

const mayManage = () =>
  Boolean(pass) && MANAGERS.has(pass.role) && [resource.lesson, '*'].includes(pass.lesson);

function draw() {
  setTitle(resource.title);
  sayPlain(at('title'), resource.title);
  say(at('meta'), 'watch.meta', { date: () => dateTime(resource.recorded_at), length: clock(resource.duration) });
  show(at('unpublished'), !resource.published);
  at('publish').setAttribute('aria-checked', String(resource.published));
  say(at('publish-note'), resource.published ? 'watch.published' : 'watch.hidden');
  at('download').href = `${resourcePath(id, 'media')}?download`;
  drawFacts();
}

function drawFacts() {
  const facts = [
    ['watch.fact.size', bytes(resource.size || 0)],
    ['watch.fact.picture', resource.width ? `${resource.width} × ${resource.height}` : '–'],
    ['watch.fact.type', resource.media_type || '–'],
    ['watch.fact.sha256', resource.sha256 || '–'],
  ];
  at('facts').replaceChildren(...facts.flatMap(([key, value]) => [make('dt', { key }), make('dd', {}, value)]));
}

/** Gaps, on a strip below the picture and in words; both lead there. */
function drawGaps() {
  const gaps = resource.gaps || [];
  show(at('gaps'), gaps.length > 0);
  show(at('strip'), gaps.length > 0 && resource.duration > 0);
  const go = (gap) => () => {
    at('video').currentTime = Math.max(0, gap.start - 1);
    at('video').focus();
  };
  const words = (gap) => ({
    at: clock(gap.start),
    seconds: () => number(gap.seconds, 1),
  });
  at('gap-list').replaceChildren(...gaps.map((gap) =>
    make('li', {},
      make('button.quiet', { type: 'button', key: gapKey(gap), values: words(gap), on: { click: go(gap) } }))));
  at('strip').replaceChildren(make('span.strip-played', { id: 'played' }), ...gaps.map((gap) => {
    const mark = make('span.strip-gap');
    mark.style.left = `${(gap.start / resource.duration) * 100}%`;
    mark.style.width = `${Math.max(0.4, (gap.seconds / resource.duration) * 100)}%`;
    return mark;
  }));
}

/** Of a track as the recorder names it: "camera/audio". */
const gapKey = ({ track }) => {
  const kind = track.split('/').pop();
  return ['audio', 'video'].includes(kind) ? `watch.gap.${kind}` : 'watch.gap.both';
};

async function change(body, done) {
  try {
    resource = await api(resourcePath(id), { method: 'PATCH', token: pass.token, body });
    draw();
    say(at('manage-state'), done);
  } catch (problem) {
    sayPlain(at('manage-state'), problem.message);
  }
}

function wireManaging() {
  show(at('manage'), mayManage());
  at('new-title').value = resource.title;
  at('publish').addEventListener('click', () => {
    change({ published: !resource.published }, resource.published ? 'watch.done.hidden' : 'watch.done.published');
  });
  at('rename').addEventListener('submit', (event) => {
    event.preventDefault();
    const title = at('new-title').value.trim();
    if (title) change({ title }, 'watch.done.renamed');
  });
}

function nothingHere(problem) {
  show(at('missing'), true);
  const unknown = problem.status === 404 || problem.status === 401 || problem.status === 403;
  say(at('missing-heading'), unknown ? 'watch.missing' : 'watch.unreachable');
  if (unknown) say(at('missing-lead'), 'watch.missing.lead');
  else sayPlain(at('missing-lead'), problem.message);
}

async function find() {
  const token = pass && pass.token;
  try {
    return await api(resourcePath(id), { token });
  } catch (problem) {
    if (!token || ![401, 403].includes(problem.status)) throw problem;
    pass = null; // a link that has expired does not hide what is public
    return api(resourcePath(id));
  }
}

openPage(async () => {
  pass = takePass('library');
  try {
    resource = await find();
    // A <video> cannot carry a token: a cookie for this resource alone opens its media.
    if (pass && !resource.published) await api(resourcePath(id, 'watch'), { method: 'POST', token: pass.token });
  } catch (problem) {
    nothingHere(problem);
    return;
  }
  show(at('found'), true);
  draw();
  drawGaps();
  wireManaging();
  const video = at('video');
  video.poster = resourcePath(id, 'poster');
  video.addEventListener('error', () => {
    show(at('trouble'), true);
    say(at('trouble'), 'watch.broken');
  });
  video.addEventListener('timeupdate', () => {
    const played = at('played');
    if (played) played.style.width = `${(video.currentTime / (video.duration || resource.duration)) * 100}%`;
  });
  video.src = resourcePath(id, 'media');
  changes.addEventListener('change', draw);
});
