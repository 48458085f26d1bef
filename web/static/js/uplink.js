/** How the teacher's line up does, in words: read every two seconds from getStats. */

import { number } from './i18n.js';
import { readUplink } from './stats.js';

const EVERY = 2_000; // ms
const WARM = 8_000; // ms that Chromium's bandwidth estimate needs to open the high layers

export class Uplink extends EventTarget {
  constructor(publisher) {
    super();
    this.publisher = publisher;
    this.since = performance.now();
    this.rate = 0; // bit/s of video
    this.words = { kind: 'calm', key: 'uplink.joining', values: {} };
    this.timer = setInterval(() => this.sample(), EVERY);
  }

  stop() {
    clearInterval(this.timer);
  }

  async sample() {
    const { peer, state } = this.publisher;
    if (!peer || state !== 'up') {
      this.last = null;
      this.words = { kind: 'bad', key: 'uplink.down', values: {} };
    } else {
      const found = readUplink(await peer.getStats());
      const now = performance.now();
      if (this.last && this.peer === peer) {
        this.rate = Math.max(0, ((found.bytes - this.last.bytes) * 8000) / (now - this.at));
      } else this.since = now;
      [this.last, this.peer, this.at] = [found, peer, now];
      this.words = this.judge(found, now - this.since);
    }
    this.dispatchEvent(new Event('sample'));
  }

  judge(found, age) {
    const values = { rate: () => number(this.rate / 1e6, 1), height: found.height || '–' };
    if (found.loss > 0.05 || found.rtt > 600) return { kind: 'bad', key: 'uplink.poor', values };
    if (age < WARM) return { kind: 'good', key: 'uplink.warming', values };
    if (found.limit === 'cpu') return { kind: 'poor', key: 'uplink.cpu', values };
    if (found.limit === 'bandwidth' && found.active <= 1) return { kind: 'bad', key: 'uplink.poor', values };
    if (found.limit === 'bandwidth' || found.loss > 0.02) return { kind: 'poor', key: 'uplink.fair', values };
    return { kind: 'good', key: 'uplink.good', values };
  }
}
