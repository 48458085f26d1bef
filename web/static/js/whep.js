/** The watching side: one picture, one voice (WHEP). */

import { Connection } from './connection.js';

export class Watcher extends Connection {
  constructor({ lesson, token, publication, send }) {
    const query = publication ? `?publication=${encodeURIComponent(publication)}` : '';
    super({ endpoint: `/whep/${encodeURIComponent(lesson)}${query}`, token, send });
    this.stream = null;
    this.wish = null; // the layer asked for by rid; null leaves it to the server
    this.addEventListener('state', () => {
      // A wish belongs to the person, not to the connection.
      if (this.state === 'up' && this.wish !== null) this.layer(this.wish).catch(() => { this.wish = null; });
    });
  }

  prepare(peer) {
    const stream = new MediaStream();
    this.stream = stream;
    peer.addEventListener('track', ({ track }) => {
      stream.addTrack(track);
      this.dispatchEvent(new CustomEvent('stream', { detail: stream }));
    });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    peer.addTransceiver('video', { direction: 'recvonly' });
  }

  /** Ask for a layer by rid, or leave the choice to the server (null). False when there is no such layer now. */
  async layer(rid) {
    this.wish = rid;
    if (!this.location) return true;
    const headers = { 'Content-Type': 'application/json' };
    const body = JSON.stringify({ rid });
    const response = await this.ask(`${this.location}/layer`, { method: 'POST', headers, body });
    return response.ok;
  }
}
