/** The classroom's page: one big picture, one voice, the state in plain words, and it comes back by itself. */

import { ClassSocket } from '../class-socket.js';
import { make, setIcon, show } from '../dom.js';
import { label, say, sayPlain, timeOfDay } from '../i18n.js';
import { Meter, wakeAudio } from '../meter.js';
import { keepAwake, link, linkPanel, openPage, setTitle } from '../shell.js';
import { LineStats } from '../stats.js';
import { takePass } from '../token.js';
import { layersOf, verdict } from '../verdict.js';
import { Watcher } from '../whep.js';

const HIDE_AFTER = 4_000; // ms without a hand on mouse or keys
const STUCK = 15; // s without picture and voice from a teacher who sends: begin anew
const BARS = 28;
const KINDS = { live: 'live', poor: 'poor', voice: 'poor', reconnecting: 'bad', refused: 'bad' };
const SHOWING = new Set(['live', 'poor', 'voice']);
const KEYS = [
  ['F', 'class.key.full'],
  ['M', 'class.key.mute'],
  ['↑ ↓', 'class.key.volume'],
  ['L', 'class.key.layer'],
  ['?', 'class.key.help'],
];
const at = (id) => document.getElementById(id);

let pass;
let socket;
let watcher;
let stats;
let meter = null;
let state = 'loading';
let everLive = false;
let blocked = false;
let tries = 0;
const fresh = () => ({ frames: 0, still: 0, voices: 0, voiceStill: 0, loss: 0, height: 0, age: 0 });
let line = fresh();

// --- what is known → what is said ------------------------------------------------------------------------------------

function render() {
  if (state === 'nopass') return;
  const { lesson, publications } = socket.snapshot;
  const problem = watcher.problem || null;
  const next = verdict({
    pass, lesson, publications, socket, everLive,
    watcher: { state: watcher.state, code: problem && problem.code, tries },
    line: { ...line, wish: watcher.wish },
  });
  if (SHOWING.has(next)) everLive = true;
  if (next === 'refused' && badLink(problem)) {
    turnAway('nopass.refused', badLink(problem));
    return;
  }
  const over = next === 'ended' && state !== 'ended';
  state = next;
  if (over) endOfLesson();
  document.body.dataset.state = state;
  say(at('state'), `class.state.${state}`);
  at('state').dataset.kind = KINDS[state] || 'calm';
  if (lesson) {
    sayPlain(at('title'), lesson.title);
    setTitle(lesson.title);
  }
  show(at('voice'), state === 'voice');
  drawSlate(lesson, problem);
  show(at('gate'), blocked && state !== 'ended' && state !== 'refused');
  if (!SHOWING.has(state)) wakeChrome();
}

function drawSlate(lesson, problem) {
  const wanted = !SHOWING.has(state);
  show(at('slate'), wanted);
  if (!wanted) return;
  sayPlain(at('slate-title'), lesson ? lesson.title : '');
  say(at('slate-words'), `class.state.${state}`);
  if (state === 'refused' && problem) sayPlain(at('slate-note'), problem.message);
  else if (state === 'refused') say(at('slate-note'), `nopass.${socket.code}`);
  else say(at('slate-note'), `class.note.${state}`);
  show(at('retry'), state === 'refused');
  const resource = state === 'ended' && lesson && lesson.resource;
  show(at('after'), Boolean(resource));
  if (resource) at('after').href = link(`/watch/${resource}`, pass);
}

function endOfLesson() {
  watcher.close();
  stats.stop();
  at('video').srcObject = null;
}

/** The text for a link that can never work, so that another one is asked for; null for what may pass. */
function badLink(problem) {
  const code = problem ? { 401: 4401, 403: 4403, 404: 4404 }[problem.status] : socket.code;
  return [4401, 4403, 4404].includes(code) ? `nopass.${code}` : null;
}

function turnAway(heading, lead) {
  state = 'nopass';
  document.body.dataset.state = state;
  for (const id of ['slate', 'voice', 'gate']) show(at(id), false);
  show(at('nopass'), true);
  say(at('nopass-heading'), heading);
  say(at('nopass-lead'), lead);
  if (!watcher) return;
  watcher.close();
  socket.close();
  stats.stop();
}

// --- the line ------------------------------------------------------------------------------------------------------

function onSample() {
  const { now } = stats;
  line.age += 1;
  line.frames += now.frames;
  line.still = now.frames > 0 ? 0 : line.still + 1;
  line.voices += now.voice;
  line.voiceStill = now.voice > 0 ? 0 : line.voiceStill + 1;
  line.loss = line.loss * 0.7 + now.loss * 0.3;
  line.height = now.height;
  const sent = [...socket.snapshot.publications.values()].some((each) => !each.silent);
  const stuck = sent && Math.min(line.still, line.voiceStill) > STUCK;
  if (stuck && document.visibilityState === 'visible') watcher.kick();
  render();
}

function onLine() {
  if (watcher.state === 'connecting') tries += 1;
  if (watcher.state === 'up') tries = 0;
  line = watcher.state === 'restoring' ? line : { ...fresh() };
  render();
}

/** Play with sound; where the browser refuses, play the picture and ask for one touch. */
async function play() {
  const video = at('video');
  try {
    await video.play();
    blocked = blocked && video.muted; // silent play is always allowed and proves nothing
  } catch (error) {
    if (error.name !== 'NotAllowedError') return; // a newer stream took over
    blocked = true;
    video.muted = true;
    await video.play().catch(() => {});
  }
  render();
}

function onStream({ detail: stream }) {
  const video = at('video');
  if (video.srcObject !== stream) video.srcObject = stream;
  play();
  listenTo(stream);
}

function listenTo(stream) {
  if (!meter) meter = new Meter();
  meter.listen(stream);
}

async function openSound() {
  const video = at('video');
  video.muted = false;
  blocked = false;
  await wakeAudio().catch(() => {});
  await play();
  drawVolume();
}

// --- the controls --------------------------------------------------------------------------------------------------

let hideTimer;

function wakeChrome() {
  document.body.dataset.chrome = 'shown';
  clearTimeout(hideTimer);
  hideTimer = setTimeout(() => {
    const busy = !at('layers').hidden || at('keys').open || at('chrome').querySelector(':focus-visible');
    if (SHOWING.has(state) && !busy) document.body.dataset.chrome = 'hidden';
  }, HIDE_AFTER);
}

function drawVolume() {
  const video = at('video');
  const silent = video.muted || video.volume === 0;
  setIcon(at('mute'), silent ? 'sound-off' : 'sound');
  label(at('mute'), silent ? 'class.sound.on' : 'class.sound.off');
  at('volume').value = String(Math.round((video.muted ? 0 : video.volume) * 100));
}

function toggleMute() {
  const video = at('video');
  if (video.muted || blocked) openSound();
  else video.muted = true;
  drawVolume();
}

function changeVolume(value) {
  const video = at('video');
  video.volume = Math.min(1, Math.max(0, value));
  if (video.muted && value > 0) openSound();
  drawVolume();
}

async function toggleFull() {
  const page = document.documentElement;
  if (document.fullscreenElement) await document.exitFullscreen();
  else if (page.requestFullscreen) await page.requestFullscreen().catch(() => {});
  else if (at('video').webkitEnterFullscreen) at('video').webkitEnterFullscreen(); // iPhone knows only this
}

function drawFull() {
  setIcon(at('full'), document.fullscreenElement ? 'shrink' : 'expand');
  label(at('full'), document.fullscreenElement ? 'class.full.leave' : 'class.full.enter');
}

function drawLayers() {
  const layers = [...layersOf(socket.snapshot.publications)];
  layers.sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
  const names = layers.length > 2 ? ['high', 'middle', 'low'] : ['high', 'low'];
  const choices = [{ rid: null, name: 'auto', height: 0 }];
  if (layers.length > 1) {
    layers.forEach(({ rid, height }, at) => choices.push({ rid, height, name: names[Math.min(at, names.length - 1)] }));
  }
  at('layers').replaceChildren(...choices.map(({ rid, name, height }) => {
    const note = height ? make('span.menu-note', { key: 'class.layer.lines', values: { height } }) : null;
    const checked = String(watcher.wish === rid);
    const choose = () => {
      watcher.layer(rid).catch(() => {}); // a line that is down asks again when it is up
      toggleLayers(false);
    };
    return make('button', { type: 'button', role: 'radio', 'aria-checked': checked, on: { click: choose } },
      make('span', { key: `class.layer.${name}` }), note);
  }));
}

function toggleLayers(open) {
  if (open) drawLayers();
  show(at('layers'), open);
  at('layer-button').setAttribute('aria-expanded', String(open));
  if (open) at('layers').firstElementChild.focus();
  else if (at('layers').contains(document.activeElement)) at('layer-button').focus();
}

function onKey(event) {
  if (event.target.matches('input[type=text]') || event.ctrlKey || event.altKey || event.metaKey) return;
  wakeChrome();
  const video = at('video');
  const actions = {
    f: toggleFull,
    m: toggleMute,
    l: () => toggleLayers(at('layers').hidden),
    '?': () => (at('keys').open ? at('keys').close() : at('keys').showModal()),
    ArrowUp: () => changeVolume(video.volume + 0.1),
    ArrowDown: () => changeVolume(video.volume - 0.1),
    Escape: () => toggleLayers(false),
  };
  if (blocked && (event.key === ' ' || event.key === 'Enter')) openSound();
  else if (event.target.matches('[role=radio]') && event.key.startsWith('Arrow')) moveInMenu(event);
  else if (actions[event.key] && !event.target.matches('input[type=range]')) actions[event.key]();
  else return;
  event.preventDefault();
}

function moveInMenu(event) {
  const all = [...at('layers').children];
  const step = event.key === 'ArrowDown' || event.key === 'ArrowRight' ? 1 : -1;
  all[(all.indexOf(event.target) + step + all.length) % all.length].focus();
}

function wireControls() {
  setIcon(at('layer-button'), 'layers');
  label(at('layer-button'), 'class.layer');
  setIcon(at('keys-button'), 'keyboard');
  label(at('keys-button'), 'class.keys');
  at('mute').addEventListener('click', toggleMute);
  at('volume').addEventListener('input', ({ target }) => changeVolume(Number(target.value) / 100));
  at('full').addEventListener('click', toggleFull);
  document.addEventListener('fullscreenchange', drawFull);
  at('video').addEventListener('dblclick', toggleFull);
  at('video').addEventListener('volumechange', drawVolume);
  at('video').addEventListener('click', () => toggleLayers(false));
  at('layer-button').addEventListener('click', () => toggleLayers(at('layers').hidden));
  at('keys-button').addEventListener('click', () => at('keys').showModal());
  at('gate').addEventListener('click', openSound);
  at('retry').addEventListener('click', () => {
    if (socket.state === 'refused') socket.start();
    if (watcher.state === 'refused') watcher.start();
  });
  for (const type of ['pointermove', 'pointerdown']) document.addEventListener(type, wakeChrome);
  document.addEventListener('keydown', onKey);
  const explain = ([key, words]) => [make('dt', {}, make('kbd', {}, key)), make('dd', { key: words })];
  at('key-list').append(...KEYS.flatMap(explain));
  drawFull();
  drawVolume();
  wakeChrome();
}

// --- voice panel and clock -------------------------------------------------------------------------------------------

function animateVoice() {
  const bars = Array.from({ length: BARS }, () => make('span'));
  at('bars').append(...bars);
  const levels = new Array(BARS / 2).fill(0);
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
  let last = 0;
  const step = (now) => {
    if (state === 'voice' && now - last > (calm.matches ? 500 : 60)) {
      last = now;
      levels.unshift(meter ? meter.level() : 0);
      levels.pop();
      // The newest level stands in the middle and runs to both sides.
      bars.forEach((bar, index) => {
        const distance = index < BARS / 2 ? BARS / 2 - 1 - index : index - BARS / 2;
        bar.style.transform = `scaleY(${(0.04 + levels[distance] * 0.96).toFixed(3)})`;
      });
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function tickClock() {
  sayPlain(at('clock'), timeOfDay(socket.now()));
}

openPage(async () => {
  linkPanel(at('nopass'));
  pass = takePass('classroom');
  if (!pass || !pass.lesson) {
    turnAway('nopass.heading', 'nopass.classroom');
    return;
  }
  socket = new ClassSocket(pass);
  watcher = new Watcher({ lesson: pass.lesson, token: pass.token });
  stats = new LineStats({ watcher, video: at('video'), socket });
  watcher.addEventListener('stream', onStream);
  watcher.addEventListener('state', onLine);
  stats.addEventListener('sample', onSample);
  stats.addEventListener('first-frame', () => {
    line.frames += 1;
    line.still = 0;
    render();
  });
  for (const type of ['state', 'welcome', 'lesson', 'publication', 'unpublished']) {
    socket.addEventListener(type, render);
  }
  wireControls();
  animateVoice();
  tickClock();
  setInterval(tickClock, 1000);
  keepAwake(() => state !== 'ended' && state !== 'refused');
  socket.start();
  watcher.start();
});
