/** A small time series drawn in SVG: axes with round numbers, one or two lines, the value under the pointer. */

import { make } from './dom.js';
import { changes, say, timeOfDay } from './i18n.js';

const NS = 'http://www.w3.org/2000/svg';
const HEIGHT = 168;
const MARGIN = { top: 12, right: 10, bottom: 24, left: 46 };

function shape(tag, attributes, text) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Round steps for an axis from 0 to at least `most`: 1, 2 or 5 times a power of ten. */
export function ticks(most, count = 3) {
  const rough = Math.max(most, 1e-9) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const out = [];
  for (let value = 0; value < most + step * 0.999; value += step) out.push(Number(value.toPrecision(12)));
  return out;
}

/** Steps of time that people read easily, in seconds, at most `count` of them. */
export function timeTicks(from, to, count) {
  const steps = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];
  const step = steps.find((each) => (to - from) / each <= count) || 86400;
  const out = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) out.push(time);
  return out;
}

export class Chart {
  /**
   * `lines`: [{name, key}] with a key of the texts each; `format` turns a value into words, `tick` does for the axis;
   * `least` is the smallest top.
   */
  constructor({ title, lines, format, tick = format, least = 1 }) {
    this.lines = lines;
    this.format = format;
    this.tick = tick;
    this.least = least;
    this.series = {};
    this.at = null; // seconds: where the pointer is
    this.readout = make('p.readout');
    this.svg = shape('svg', { class: 'plot', role: 'img', tabindex: '0', height: HEIGHT });
    const legend = lines.length > 1 ? lines.map(({ key }, index) => make(`span.legend.line-${index}`, { key })) : [];
    const head = make('figcaption', {}, make('span.chart-title', { key: title }), ...legend, this.readout);
    this.element = make('figure.chart', {}, head, this.svg);
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => this.look(null));
    this.svg.addEventListener('keydown', (event) => this.step(event));
    this.svg.addEventListener('blur', () => this.look(null));
    changes.addEventListener('change', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** `series`: {name: [[seconds, value], …]} in order of time. */
  update(series) {
    this.series = series;
    this.draw();
  }

  points(name) {
    return (this.series[name] || []).filter(([, value]) => Number.isFinite(value));
  }

  draw() {
    const width = Math.max(160, this.svg.clientWidth || 320);
    this.svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    const all = this.lines.flatMap(({ name }) => this.points(name));
    const times = all.map(([time]) => time);
    const to = times.length ? Math.max(...times) : Date.now() / 1000;
    const from = Math.min(to - 60, ...(times.length ? [Math.min(...times)] : []));
    const levels = ticks(Math.max(this.least, ...all.map(([, value]) => value)));
    const top = levels[levels.length - 1];
    const [w, h] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.top - MARGIN.bottom];
    const plot = { x: MARGIN.left, y: MARGIN.top, w, h };
    this.x = (time) => plot.x + ((time - from) / (to - from)) * plot.w;
    this.y = (value) => plot.y + plot.h - (value / top) * plot.h;
    this.time = (x) => from + ((x - plot.x) / plot.w) * (to - from);
    const parts = [];
    for (const level of levels) {
      const y = this.y(level);
      parts.push(shape('line', { class: 'grid', x1: plot.x, x2: plot.x + plot.w, y1: y, y2: y }));
      parts.push(shape('text', { class: 'tick', x: plot.x - 6, y: y + 4, 'text-anchor': 'end' }, this.tick(level)));
    }
    const short = to - from < 300; // seconds: minutes alone would stand there twice
    for (const time of timeTicks(from, to, Math.max(2, Math.floor(plot.w / 90)))) {
      const x = this.x(time);
      const anchor = x < plot.x + 16 ? 'start' : x > plot.x + plot.w - 16 ? 'end' : 'middle';
      const place = { class: 'tick', x, y: HEIGHT - 6, 'text-anchor': anchor };
      parts.push(shape('text', place, timeOfDay(time * 1000, short)));
    }
    this.lines.forEach(({ name }, index) => parts.push(...this.drawLine(name, index, plot)));
    parts.push(...this.drawPointer(plot));
    this.svg.replaceChildren(...parts);
    this.tell();
  }

  drawLine(name, index, plot) {
    const points = this.points(name);
    if (!points.length) return [];
    const spot = ([time, value]) => `${this.x(time).toFixed(1)} ${this.y(value).toFixed(1)}`;
    const path = `M${points.map(spot).join('L')}`;
    const floor = plot.y + plot.h;
    const ends = [this.x(points[0][0]), this.x(points[points.length - 1][0])];
    const area = `${path}L${ends[1].toFixed(1)} ${floor}L${ends[0].toFixed(1)} ${floor}Z`;
    const out = [shape('path', { class: `stroke line-${index}`, d: path })];
    if (index === 0) out.unshift(shape('path', { class: `fill line-${index}`, d: area }));
    const [time, value] = points[points.length - 1];
    out.push(shape('circle', { class: `dot line-${index}`, cx: this.x(time), cy: this.y(value), r: 3 }));
    return out;
  }

  /** The point of a line nearest to the pointer, or its last. */
  nearest(name) {
    const points = this.points(name);
    if (this.at === null) return points[points.length - 1] || null;
    const distance = (point) => Math.abs(point[0] - this.at);
    return points.reduce((best, each) => (best && distance(best) <= distance(each) ? best : each), null);
  }

  drawPointer(plot) {
    const found = this.at === null ? null : this.nearest(this.lines[0].name);
    if (!found) return [];
    const x = this.x(found[0]);
    const marks = this.lines.map(({ name }, index) => [this.nearest(name), index]).filter(([point]) => point);
    return [
      shape('line', { class: 'pointer', x1: x, x2: x, y1: plot.y, y2: plot.y + plot.h }),
      ...marks.map(([[time, value], index]) =>
        shape('circle', { class: `dot line-${index}`, cx: this.x(time), cy: this.y(value), r: 4 })),
    ];
  }

  /** The value (of the pointer's time, else the newest) in words, for eyes and for screen readers. */
  tell() {
    const found = this.lines.map(({ name }) => this.nearest(name));
    const some = found.find(Boolean);
    if (!some) {
      say(this.readout, 'chart.empty');
      return;
    }
    const value = found.map((point) => (point ? this.format(point[1]) : '–')).join(' / ');
    if (this.at === null) say(this.readout, 'chart.now', { value });
    else say(this.readout, 'chart.at', { value, time: timeOfDay(some[0] * 1000, true) });
    const title = this.element.querySelector('.chart-title').textContent;
    this.svg.setAttribute('aria-label', `${title}: ${this.readout.textContent}`);
  }

  look(time) {
    if (this.at === time) return;
    this.at = time;
    this.draw();
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    this.look(this.time(event.clientX - box.left));
  }

  step(event) {
    const times = this.points(this.lines[0].name).map(([time]) => time);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !times.length) return;
    const here = this.at === null ? times.length : times.indexOf((this.nearest(this.lines[0].name) || [])[0]);
    this.look(times[Math.min(times.length - 1, Math.max(0, here + by))]);
    event.preventDefault();
  }
}
