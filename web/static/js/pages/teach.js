/** The teacher's page: check the devices, teach, see who is there, end the lesson. */

import { api } from '../api.js';
import { awaitArchive } from '../archive.js';
import { ClassSocket } from '../class-socket.js';
import { Desk } from '../desk.js';
import { DeviceCheck } from '../device-check.js';
import { $, setIcon, show } from '../dom.js';
import { changes, clock, number, say, sayPlain, t } from '../i18n.js';
import { wakeAudio } from '../meter.js';
import { SeatList, countsOf } from '../seats.js';
import { hoursLeft, keepAwake, link, linkPanel, openPage, setTitle } from '../shell.js';
import { takePass } from '../token.js';
import { Uplink } from '../uplink.js';
import { Watcher } from '../whep.js';
import { Publisher } from '../whip.js';

const TEACHING = 'kongzhong.teaching.';
const at = (id) => document.getElementById(id);

let pass;
let socket;
let desk;
let uplink = null;
let joined = false; // this lesson was on already: a new connection is a reconnection
let check;
let phase = 'loading';

function setPhase(next) {
  phase = next;
  document.body.dataset.phase = next;
  show(at('desk'), next === 'check' || next === 'live');
  show(at('nopass'), next === 'nopass');
  show(at('ended'), next === 'ended');
}

function turnAway(heading, lead) {
  setPhase('nopass');
  say(at('nopass-heading'), heading);
  if (lead.key) say(at('nopass-lead'), lead.key);
  else sayPlain(at('nopass-lead'), lead.text);
}

function notice(key, values) {
  show(at('notice'), Boolean(key));
  if (key) say(at('notice'), key, values);
}

// --- teaching ------------------------------------------------------------------------------------------------------

async function start() {
  at('start').disabled = true;
  notice(null);
  await wakeAudio().catch(() => {});
  setPhase('live');
  rememberTeaching(true);
  const publisher = await desk.attach((tracks) => new Publisher({ lesson: pass.lesson, token: pass.token, tracks }));
  publisher.addEventListener('state', () => drawLine(publisher));
  drawLine(publisher);
  uplink = new Uplink(publisher);
  uplink.addEventListener('sample', drawUplink);
  drawControls();
}

function rememberTeaching(on) {
  try {
    if (on) sessionStorage.setItem(TEACHING + pass.lesson, '1');
    else sessionStorage.removeItem(TEACHING + pass.lesson);
  } catch {
    // then a reload asks for one more click
  }
}

const wasTeaching = () => {
  try {
    return sessionStorage.getItem(TEACHING + pass.lesson) === '1';
  } catch {
    return false;
  }
};

function drawLine(publisher) {
  const { state, problem } = publisher;
  if (phase !== 'live') return;
  if (state === 'refused') {
    if (problem.status === 410) {
      finish();
      return;
    }
    desk.publisher.close();
    desk.publisher = null;
    if (uplink) uplink.stop();
    rememberTeaching(false);
    setPhase('check');
    at('start').disabled = false;
    show(at('trouble'), true);
    sayPlain(at('trouble'), problem.message);
  }
  if (state === 'up') joined = true;
  const again = joined ? 'teach.reconnecting' : 'teach.connecting';
  const veil = { connecting: again, waiting: 'teach.reconnecting', restoring: 'teach.reconnecting' }[state];
  show(at('veil'), Boolean(veil));
  if (veil) say(at('veil-words'), veil);
  drawState();
}

/** Whether the lesson is on: for the teacher by the own line, for an assistant by what the server says. */
function isLive() {
  const { lesson } = socket.snapshot;
  if (pass.role === 'assistant') return Boolean(lesson) && lesson.state === 'live';
  return Boolean(desk.publisher) && desk.publisher.state === 'up';
}

function stateKey(live) {
  if (phase === 'ended') return 'teach.state.ended';
  if (live) return 'teach.state.live';
  if (phase === 'live' && pass.role !== 'assistant') return 'teach.state.connecting';
  return socket.state === 'open' ? 'teach.state.ready' : 'teach.state.joining';
}

function drawState() {
  const { lesson } = socket.snapshot;
  const live = phase === 'live' && isLive();
  say(at('state'), stateKey(live));
  at('state').dataset.kind = live ? 'live' : phase === 'live' ? 'poor' : 'calm';
  if (lesson) {
    sayPlain(at('title'), lesson.title);
    setTitle(lesson.title);
  }
  drawElapsed();
}

function drawElapsed() {
  const { lesson } = socket.snapshot;
  const running = phase === 'live' && lesson && lesson.started_at;
  sayPlain(at('elapsed'), running ? clock((socket.now() - Date.parse(lesson.started_at)) / 1000) : '');
}

function drawUplink() {
  const { kind, key, values } = uplink.words;
  at('uplink-mark').dataset.kind = kind;
  say(at('uplink-words'), key, values);
}

/** What a recorder says of its failure -> our words for it. */
const FAILURES = {
  'disk-full': 'record.failing.disk-full',
  'disk-error': 'record.failing.disk-error',
  'too-slow': 'record.failing.too-slow',
  'recorder-full': 'record.failing.recorder-full',
};

function drawRecording() {
  const { recording } = socket.snapshot;
  const known = ['recording', 'buffering', 'failing'].includes(recording && recording.state) ? recording.state : 'none';
  at('record-mark').dataset.kind = { recording: 'record', buffering: 'poor', failing: 'bad', none: 'calm' }[known];
  const values = recording ? { time: clock(recording.seconds) } : {};
  say(at('record-words'), known === 'failing' ? FAILURES[recording.detail] || 'record.failing' : `record.${known}`, values);
}

function drawPeople() {
  const counts = countsOf(socket.snapshot);
  say(at('people-count'), 'people.count', {
    classrooms: () => number(counts.classrooms), watching: () => number(counts.watching),
    poor: () => number(counts.poor), gone: () => number(counts.gone),
  });
  seatList.update(socket.snapshot.seats.values());
  show(at('people-empty'), seatList.rows.size === 0);
  const arrived = counts.classrooms ? 'teach.arrived' : 'teach.arrived.none';
  say(at('arrived'), arrived, { count: () => number(counts.classrooms) });
}

let seatList;

function drawControls() {
  const press = (id, pressed, icon, key) => {
    at(id).setAttribute('aria-pressed', String(pressed));
    setIcon($('.slot', at(id)), icon);
    say(at(`${id}-words`), key);
  };
  press('mic', desk.muted, desk.muted ? 'mic-off' : 'mic', desk.muted ? 'teach.unmute' : 'teach.mute');
  press('pause', desk.paused, desk.paused ? 'play' : 'pause', desk.paused ? 'teach.resume' : 'teach.pause');
  for (const each of document.querySelectorAll('[data-source]')) {
    each.setAttribute('aria-pressed', String(each.dataset.source === desk.source));
  }
  const film = desk.source === 'film';
  show(at('film'), film);
  show(at('preview'), !film);
  const preview = at('preview');
  const track = film ? null : desk.shown;
  const current = preview.srcObject && preview.srcObject.getVideoTracks()[0];
  if (pass.role === 'assistant') return;
  if ((current || null) !== track) preview.srcObject = track ? new MediaStream([track]) : null;
  const missing = desk.devices ? 'teach.stage.voiceonly' : 'teach.stage.none';
  const words = desk.paused ? 'teach.stage.paused' : desk.shown ? null : missing;
  show(at('stage-note'), Boolean(words));
  if (words) say(at('stage-words'), words);
}

async function chooseSource(source, file) {
  notice(null);
  const trouble = await desk.choose(source, file);
  if (trouble) notice(trouble);
  else if (source === 'screen' && desk.source === 'screen') notice('teach.screen.on');
}

// --- the end -------------------------------------------------------------------------------------------------------

async function end() {
  at('confirm').showModal();
  at('confirm').addEventListener('close', async () => {
    if (at('confirm').returnValue !== 'yes') return;
    at('end').disabled = true;
    try {
      await api(`/api/lessons/${encodeURIComponent(pass.lesson)}/end`, { token: pass.token, method: 'POST' });
      await finish();
    } catch (problem) {
      if (problem.code === 'lesson-ended') await finish();
      else notice('teach.end.failed', { reason: problem.message });
    } finally {
      at('end').disabled = false;
    }
  }, { once: true });
}

async function finish() {
  if (phase === 'ended') return;
  if (uplink) uplink.stop();
  rememberTeaching(false);
  desk.close();
  setPhase('ended');
  drawState();
  at('to-library').href = link('/library', pass);
  await awaitArchive(pass, { length: at('ended-lead'), state: at('archive'), open: at('resource') });
}

// --- beginning -----------------------------------------------------------------------------------------------------

function listen() {
  socket.addEventListener('state', () => {
    if (socket.state === 'refused' && phase !== 'ended') {
      if (socket.code === 4410) finish();
      else turnAway('nopass.refused', { key: `nopass.${socket.code}` });
    } else drawState();
  });
  const heard = () => {
    const { lesson } = socket.snapshot;
    if (lesson && ['ended', 'archived'].includes(lesson.state)) finish();
    drawState();
    drawPeople();
    drawRecording();
  };
  for (const type of ['welcome', 'lesson', 'seats', 'recording']) socket.addEventListener(type, heard);
  changes.addEventListener('change', () => {
    drawState();
    drawPeople();
    if (desk.devices) check.list();
  });
  setInterval(drawElapsed, 500);
}

function wire() {
  at('start').addEventListener('click', start);
  at('mic').addEventListener('click', () => desk.mute(!desk.muted));
  at('pause').addEventListener('click', () => desk.pause(!desk.paused));
  for (const each of document.querySelectorAll('[data-source]')) {
    const { source } = each.dataset;
    each.addEventListener('click', () => (source === 'film' ? at('file').click() : chooseSource(source)));
  }
  at('file').addEventListener('change', ({ target }) => {
    if (target.files[0]) chooseSource('film', target.files[0]);
    target.value = '';
  });
  at('end').addEventListener('click', end);
  desk.addEventListener('change', drawControls);
  desk.addEventListener('trouble', ({ detail }) => notice(detail));
  if (navigator.mediaDevices) {
    navigator.mediaDevices.addEventListener('devicechange', async () => {
      const gone = !desk.devices || desk.devices.getTracks().some((track) => track.readyState === 'ended');
      if (phase === 'check' || gone) await check.open();
      else await check.list();
    });
  }
}

/** An assistant sees what the classrooms see, and may end the lesson. */
function assist() {
  setPhase('live');
  document.body.dataset.role = 'assistant';
  const watcher = new Watcher({ lesson: pass.lesson, token: pass.token });
  watcher.addEventListener('stream', ({ detail }) => { at('preview').srcObject = detail; });
  watcher.start();
}

openPage(async () => {
  linkPanel(at('nopass'));
  pass = takePass('teach');
  if (!pass || !pass.lesson) {
    turnAway('nopass.heading', { key: 'nopass.teach' });
    return;
  }
  if (pass.role && !['teacher', 'assistant'].includes(pass.role)) {
    turnAway('nopass.refused', { key: 'nopass.notteacher' });
    return;
  }
  const left = hoursLeft(pass.token);
  if (left !== null && left <= 0) {
    turnAway('nopass.refused', { key: 'nopass.4401' });
    return;
  }
  seatList = new SeatList(at('seats'));
  socket = new ClassSocket(pass);
  desk = new Desk({ film: at('film'), pausedWords: () => t('teach.slate') });
  listen();
  wire();
  drawControls();
  drawRecording();
  drawPeople();
  socket.start();
  keepAwake(() => phase === 'live');
  if (pass.role === 'assistant') {
    assist();
    return;
  }
  setPhase('check');
  check = new DeviceCheck(desk, {
    trouble: at('trouble'), again: at('again'), start: at('start'), cameras: at('camera-pick'),
    microphones: at('mic-pick'), meter: at('meter'), words: at('meter-words'), live: at('live-meter'),
  });
  if ((await check.open()) && wasTeaching() && phase === 'check') await start();
});
