/** The page of the bureau's operators: what is on, how it is received, whether it is recorded. */

import { api, Problem } from '../api.js';
import { Chart } from '../chart.js';
import { make, show } from '../dom.js';
import { changes, dateTime, number, say, sayPlain, t, timeOfDay } from '../i18n.js';
import { sleep } from '../backoff.js';
import { alertsOf, figuresOf, mergeSeries, newestOf } from '../ops-data.js';
import { linkPanel, openPage, setTitle } from '../shell.js';
import { takePass } from '../token.js';

const EVERY = 5_000; // ms
const at = (id) => document.getElementById(id);
const ms = (value) => t('unit.ms', { value: number(value) });
const percent = (value) => t('unit.percent', { value: number(value * 100, value < 0.1 ? 1 : 0) });
const plain = (value) => number(value, value < 10 && value % 1 ? 1 : 0);

const TILES = [
  { name: 'lessons', format: plain },
  { name: 'seats', format: plain },
  { name: 'joins', format: plain },
  { name: 'latency_p50', format: ms },
  { name: 'latency_p99', format: ms, poor: 800, bad: 2000 },
  { name: 'loss', format: percent, poor: 0.03, bad: 0.08 },
  { name: 'lag', format: ms, poor: 2000, bad: 10_000 },
];
const CHARTS = [
  { title: 'ops.chart.lessons', lines: [{ name: 'lessons', key: 'ops.tile.lessons' }], format: plain, least: 4 },
  { title: 'ops.chart.seats', lines: [{ name: 'seats', key: 'ops.tile.seats' }], format: plain, least: 5 },
  { title: 'ops.chart.joins', lines: [{ name: 'joins', key: 'ops.tile.joins' }], format: plain, least: 5 },
  {
    title: 'ops.chart.latency',
    lines: [{ name: 'latency_p50', key: 'ops.p50' }, { name: 'latency_p99', key: 'ops.p99' }],
    format: ms,
    tick: plain,
    least: 200,
  },
  { title: 'ops.chart.loss', lines: [{ name: 'loss', key: 'ops.tile.loss' }], format: percent, least: 0.05 },
  { title: 'ops.chart.lag', lines: [{ name: 'lag', key: 'ops.tile.lag' }], format: ms, tick: plain, least: 1000 },
];

let pass;
let charts;
let figures = null;
let series = {};
let unrecorded = 0; // polls in a row with a live lesson that nothing records
const open = new Set(); // lessons whose seats are shown
const rows = new Map();

// --- tiles, alerts, charts -------------------------------------------------------------------------------------------

function drawTiles() {
  at('tiles').replaceChildren(...TILES.map(({ name, format, poor, bad }) => {
    const value = figures[name];
    const known = Number.isFinite(value);
    const kind = !known || !poor ? 'calm' : value >= bad ? 'bad' : value >= poor ? 'poor' : 'good';
    const figure = make('p.tile-value', { 'data-name': name }, known ? format(value) : '–');
    return make('li.tile', { 'data-kind': kind }, make('p.tile-name', { key: `ops.tile.${name}` }), figure);
  }));
}

function drawAlerts(said) {
  const alerts = alertsOf(said, unrecorded).map(({ kind, key, count }) =>
    make('li', { 'data-kind': kind }, make('span', { key, values: { count } })));
  const calm = make('li', { 'data-kind': 'good' }, make('span', { key: said.lessons ? 'ops.fine' : 'ops.quiet' }));
  const fresh = alerts.length ? alerts : [calm];
  const wording = (items) => items.map((each) => each.dataset.kind + each.textContent).join('|');
  // Untouched when nothing changed: a screen reader should not repeat it every five seconds.
  if (wording(fresh) !== wording([...at('alerts').children])) at('alerts').replaceChildren(...fresh);
}

// --- lessons and their seats -----------------------------------------------------------------------------------------

async function drawLessons() {
  const { lessons } = await api('/api/lessons', { token: pass.token });
  const shown = lessons.filter(({ state }) => state === 'live' || state === 'scheduled');
  shown.sort((a, b) => a.state.localeCompare(b.state) || b.created_at.localeCompare(a.created_at));
  show(at('no-lessons'), shown.length === 0);
  const known = new Set(shown.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (known.has(id)) continue;
    row.head.remove();
    row.detail.remove();
    rows.delete(id);
    open.delete(id);
  }
  for (const lesson of shown) {
    const row = rows.get(lesson.id) || addRow(lesson);
    row.lesson = lesson;
    sayPlain(row.title, lesson.title);
    say(row.state, `lesson.state.${lesson.state}`);
    row.state.dataset.kind = lesson.state === 'live' ? 'live' : 'calm';
    sayPlain(row.since, dateTime(lesson.started_at || lesson.created_at));
  }
  await Promise.all([...open].map((id) => drawSeats(rows.get(id))));
}

function addRow(lesson) {
  const row = { title: make('span'), state: make('span.state-pill'), since: make('span'), lesson };
  const on = { click: () => toggle(row) };
  row.toggle = make('button.quiet', { type: 'button', key: 'ops.seats.show', 'aria-expanded': 'false', on });
  row.body = make('div.drill');
  row.detail = make('tr.detail', { hidden: true }, make('td', { colspan: 4 }, row.body));
  row.head = make('tr', {},
    make('th', { scope: 'row' }, row.title),
    make('td', {}, row.state),
    make('td', {}, row.since),
    make('td.last', {}, row.toggle));
  at('lessons').append(row.head, row.detail);
  rows.set(lesson.id, row);
  return row;
}

function toggle(row) {
  const opening = row.detail.hidden;
  if (opening) open.add(row.lesson.id);
  else open.delete(row.lesson.id);
  show(row.detail, opening);
  row.toggle.setAttribute('aria-expanded', String(opening));
  say(row.toggle, opening ? 'ops.seats.hide' : 'ops.seats.show');
  if (opening) drawSeats(row);
}

async function drawSeats(row) {
  let connections;
  try {
    const path = `/api/lessons/${encodeURIComponent(row.lesson.id)}/connections`;
    ({ connections } = await api(path, { token: pass.token }));
  } catch (problem) {
    row.body.replaceChildren(make('p.empty', {}, problem.message));
    return;
  }
  if (!connections.length) {
    row.body.replaceChildren(make('p.empty', { key: 'ops.seats.none' }));
    return;
  }
  const columns = ['seat', 'direction', 'up', 'layer', 'loss', 'rtt'];
  const cell = (content, key) => make('td', { key }, ...(key ? [] : [content]));
  const value = (figure, format) => (Number.isFinite(figure) ? format(figure) : '–');
  row.body.replaceChildren(make('table.inner', {},
    make('thead', {}, make('tr', {}, ...columns.map((name) => make('th', { scope: 'col', key: `ops.seat.${name}` })))),
    make('tbody', {}, ...connections.map((each) => make('tr', {},
      make('th', { scope: 'row' }, each.seat),
      cell('', `ops.direction.${each.direction}`),
      cell('', each.up ? 'ops.up' : 'ops.notup'),
      cell(each.layer || '–'),
      cell(value(each.loss, percent)),
      cell(value(each.rtt_ms, ms)))))));
}

// --- the pulse -----------------------------------------------------------------------------------------------------

function turnAway(heading, lead) {
  show(at('board'), false);
  show(at('nopass'), true);
  say(at('nopass-heading'), heading);
  say(at('nopass-lead'), lead);
}

function hear(said) {
  figures = figuresOf(said);
  series = mergeSeries(series, said.series);
  unrecorded = said.recorder.lessons < said.lessons ? unrecorded + 1 : 0;
  drawTiles();
  drawAlerts(said);
  for (const chart of charts) chart.update(series);
}

async function poll() {
  for (;;) {
    try {
      const said = await api(`/api/ops?since=${newestOf(series)}`, { token: pass.token });
      hear(said);
      await drawLessons();
      say(at('fresh'), 'ops.fresh', { time: () => timeOfDay(said.now * 1000, true) });
      at('fresh').dataset.kind = 'calm';
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401 || problem.status === 403) {
        turnAway('nopass.refused', problem.status === 401 ? 'nopass.4401' : 'nopass.notops');
        return;
      }
      say(at('fresh'), 'ops.stale');
      at('fresh').dataset.kind = 'bad';
    }
    await sleep(EVERY);
  }
}

openPage(async () => {
  linkPanel(at('nopass'));
  pass = takePass('ops');
  setTitle(t('ops.heading'));
  if (!pass) {
    turnAway('nopass.heading', 'nopass.ops');
    return;
  }
  show(at('board'), true);
  charts = CHARTS.map((each) => new Chart(each));
  at('charts').append(...charts.map(({ element }) => element));
  changes.addEventListener('change', () => {
    setTitle(t('ops.heading'));
    if (figures) drawTiles();
  });
  await poll();
});
