/** The class over one WebSocket: says hello, keeps a snapshot of what was heard, comes back by itself. */

import { Backoff } from './backoff.js';
import { language } from './i18n.js';

const PROTOCOL = 'kongzhong.v1.json';
const PING = 5_000; // ms
const SILENCE = 12_000; // ms without a word from the server: the line is dead, whatever TCP thinks
const FINAL = new Set([4401, 4403, 4404, 4410]);

/** Events: `state` (connecting, open, waiting, refused, closed) and one event per message type. */
export class ClassSocket extends EventTarget {
  constructor({ lesson, token }) {
    super();
    const url = new URL(`/ws/${encodeURIComponent(lesson)}`, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    this.url = url.href;
    this.token = token;
    this.state = 'idle';
    this.code = null;
    this.ahead = 0; // ms that the server's clock is ahead of ours: a school's machine may be minutes off
    this.backoff = new Backoff();
    /** What is known now; publications by `name/kind`, seats by name. */
    this.snapshot = {
      lesson: null, publications: new Map(), seats: new Map(), counts: null, recording: null, layer: null,
    };
  }

  start() {
    this.wanted = true;
    this.open();
  }

  close() {
    this.wanted = false;
    clearInterval(this.pulse);
    if (this.socket) this.socket.close(1000);
    this.become('closed');
  }

  send(message) {
    if (this.state !== 'open' || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The server's time, in ms since the epoch. */
  now() {
    return Date.now() + this.ahead;
  }

  become(state) {
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }

  open() {
    this.become('connecting');
    const socket = new WebSocket(this.url, [PROTOCOL]);
    this.socket = socket;
    this.heard = performance.now();
    socket.addEventListener('open', () => {
      this.heard = performance.now();
      socket.send(JSON.stringify({ type: 'hello', token: this.token, language: language() }));
    });
    socket.addEventListener('message', ({ data }) => this.hear(data));
    socket.addEventListener('close', ({ code }) => this.lost(socket, code));
    clearInterval(this.pulse);
    this.pulse = setInterval(() => this.beat(socket), PING);
  }

  beat(socket) {
    if (performance.now() - this.heard > SILENCE) {
      socket.close();
      this.lost(socket, 1006); // close() alone would wait for an answer that cannot come
    } else this.ping();
  }

  ping() {
    this.pinged = performance.now();
    this.send({ type: 'ping', id: Math.floor(this.pinged) });
  }

  async lost(socket, code) {
    if (this.socket !== socket || !this.wanted) return;
    this.socket = null;
    this.code = code;
    clearInterval(this.pulse);
    if (FINAL.has(code)) {
      this.wanted = false;
      this.become('refused');
      return;
    }
    this.become('waiting');
    await this.backoff.wait(code === 1008 ? 10_000 : 0);
    if (this.wanted) this.open();
  }

  hear(data) {
    this.heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.remember(message);
    if (message.type === 'welcome') {
      this.backoff.reset();
      this.become('open');
      this.ping();
    } else if (message.type === 'pong' && message.id === Math.floor(this.pinged)) {
      this.ahead = message.now_ms + (performance.now() - this.pinged) / 2 - Date.now();
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  remember(message) {
    const known = this.snapshot;
    if (message.type === 'welcome') {
      known.publications.clear();
      known.seats.clear();
      for (const each of message.publications || []) known.publications.set(`${each.publication}/${each.kind}`, each);
    }
    if (message.lesson) known.lesson = message.lesson;
    if (message.counts) known.counts = message.counts;
    for (const seat of message.seats || []) known.seats.set(seat.seat, seat);
    if (message.type === 'publication') {
      const { publication } = message;
      known.publications.set(`${publication.publication}/${publication.kind}`, publication);
    } else if (message.type === 'unpublished') known.publications.delete(`${message.publication}/${message.kind}`);
    else if (message.type === 'recording') known.recording = message;
    else if (message.type === 'layer') known.layer = message;
  }
}
