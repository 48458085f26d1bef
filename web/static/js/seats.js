/** The list of seats: who is there, how it goes for them, in a word, a colour and a shape. Rows are kept and moved. */

import { make } from './dom.js';
import { number, say, sayPlain } from './i18n.js';
import { seatMark } from './icons.js';

/** Who needs the teacher's eye comes first. */
const ORDER = ['poor', 'gone', 'connecting', 'waiting', 'watching'];
const WATCHERS = new Set(['classroom']);

export class SeatList {
  constructor(root) {
    this.root = root;
    this.rows = new Map();
  }

  update(seats) {
    const classrooms = [...seats].filter(({ role }) => WATCHERS.has(role));
    const rank = ({ state }) => ORDER.indexOf(state);
    classrooms.sort((a, b) => rank(a) - rank(b) || a.seat.localeCompare(b.seat, 'zh-CN'));
    const known = new Set(classrooms.map(({ seat }) => seat));
    for (const [seat, row] of this.rows) {
      if (known.has(seat)) continue;
      row.element.remove();
      this.rows.delete(seat);
    }
    classrooms.forEach((seat, index) => {
      const row = this.rows.get(seat.seat) || this.add(seat.seat);
      this.draw(row, seat);
      const there = this.root.children[index] || null;
      if (there !== row.element) this.root.insertBefore(row.element, there);
    });
  }

  add(seat) {
    const [mark, name, word, note] = ['mark', 'name', 'word', 'note'].map((part) => make(`span.seat-${part}`));
    const row = { mark, name, word, note };
    sayPlain(row.name, seat);
    row.name.title = seat;
    row.element = make('li.seat', {}, row.mark, row.name, row.word, row.note);
    this.rows.set(seat, row);
    return row;
  }

  draw(row, seat) {
    if (row.state !== seat.state) {
      row.state = seat.state;
      row.mark.replaceChildren(seatMark(seat.state));
      row.element.dataset.state = seat.state;
      say(row.word, `seat.state.${seat.state}`);
    }
    if (seat.state === 'poor' && seat.loss > 0.005) {
      say(row.note, 'seat.loss', { percent: () => number(seat.loss * 100, 1) });
    } else if (seat.latency_ms) say(row.note, 'seat.latency', { seconds: () => number(seat.latency_ms / 1000, 1) });
    else sayPlain(row.note, '');
  }
}

/** Counts as the server says them, or counted from the seats when it has not. */
export function countsOf({ counts, seats }) {
  if (counts) return counts;
  const all = [...seats.values()].filter(({ role }) => WATCHERS.has(role));
  const of = (state) => all.filter((seat) => seat.state === state).length;
  return { classrooms: all.length, watching: of('watching'), poor: of('poor'), gone: of('gone') };
}
