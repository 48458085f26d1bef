/**
 * One WHIP or WHEP connection that keeps itself alive (RFC 9725): POST, ICE restart by PATCH when the line drops, a
 * new POST when that does not help, DELETE when the page goes. The single invariant: at most one peer, one resource.
 *
 * States: idle → connecting → up → (restoring → up)* → waiting → connecting …; refused and closed are final.
 */

import { Problem, request } from './api.js';
import { Backoff, sleep } from './backoff.js';
import { iceServers, restarted, restartFragment } from './sdp.js';

const CONNECT_WITHIN = 10_000; // ms from the answer to a path; 3 s is usual on the worst line that still works
const RESTORE_WITHIN = 6_000; // ms from a restart's answer to a path
const GRACE = 1_500; // ms that "disconnected" may last: ICE often mends itself
const CONSENT = 30_000; // ms after which the server has forgotten a silent peer
const FINAL = new Set([400, 401, 403, 404, 409, 410, 413, 415, 422]);
const CAPTURE_TIME = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';

export class Connection extends EventTarget {
  /** `send` has the signature of fetch; tests put a peer of their own behind it. */
  constructor({ endpoint, token, send = (...args) => fetch(...args) }) {
    super();
    this.endpoint = new URL(endpoint, location.href).href;
    this.token = token;
    this.send = send;
    this.state = 'idle';
    this.peer = null;
    this.startedAt = 0; // performance.now() of the POST that led to this peer
    this.joinMs = null; // POST to connected
    this.restarts = 0;
    this.backoff = new Backoff();
    this.generation = 0;
    this.onHide = () => this.leave();
  }

  /** Subclasses add their transceivers. */
  prepare() {}

  /** Subclasses may reword the peer's answer. */
  shape(answer) {
    return answer;
  }

  start() {
    if (!['idle', 'refused', 'closed'].includes(this.state)) return;
    window.addEventListener('pagehide', this.onHide);
    this.backoff.reset();
    this.generation += 1;
    this.run(this.generation);
  }

  /** End for good; the resource is deleted. */
  close() {
    this.generation += 1;
    this.leave();
    this.become('closed');
  }

  /** The media stands still although the line looks fine: begin anew. */
  kick() {
    if (this.giveUp) this.giveUp();
  }

  become(state, problem = null) {
    this.state = state;
    if (state === 'closed' || state === 'refused') window.removeEventListener('pagehide', this.onHide);
    this.problem = problem;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, problem } }));
  }

  async run(generation) {
    const mine = () => this.generation === generation;
    while (mine()) {
      let wait = 0;
      this.become('connecting');
      try {
        await this.establish(mine);
        if (!mine()) return;
        this.backoff.reset();
        this.become('up');
        await this.hold(mine);
      } catch (error) {
        if (!mine()) return;
        if (error instanceof Problem && FINAL.has(error.status)) {
          this.drop();
          this.become('refused', error);
          return;
        }
        wait = ((error instanceof Problem && error.retryAfter) || 0) * 1000;
        this.lastError = error;
      }
      if (!mine()) return;
      this.leave();
      this.become('waiting');
      await this.backoff.wait(wait);
    }
  }

  async establish(mine) {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.peer = peer;
    this.location = null;
    this.joinMs = null;
    this.startedAt = performance.now();
    this.prepare(peer);
    offerCaptureTime(peer);
    const offer = await peer.createOffer();
    const headers = { 'Content-Type': 'application/sdp' };
    const response = await this.ask(this.endpoint, { method: 'POST', headers, body: offer.sdp });
    if (response.status !== 201) throw await Problem.from(response);
    this.location = new URL(response.headers.get('Location') || '', this.endpoint).href;
    this.etag = response.headers.get('ETag');
    if (!mine()) {
      this.leave();
      return;
    }
    // Gathering begins only now, so that servers from the Link header take part in it.
    const servers = iceServers(response.headers.get('Link'));
    if (servers.length) peer.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: servers });
    await peer.setLocalDescription(offer);
    this.answer = this.shape(await response.text());
    await peer.setRemoteDescription({ type: 'answer', sdp: this.answer });
    if (!(await connected(peer, CONNECT_WITHIN))) throw new Error('no path');
    this.joinMs = performance.now() - this.startedAt;
  }

  /** Returns when this peer is beyond repair. */
  async hold(mine) {
    while (mine()) {
      const trouble = await this.trouble();
      if (!mine() || trouble === 'dead') return;
      this.become('restoring');
      if (!(await this.restore(mine))) return;
      if (mine()) this.become('up');
    }
  }

  /** Resolves with `line` (ICE may mend it) or `dead` (DTLS is over, or the media was found standing still). */
  trouble() {
    const peer = this.peer;
    return new Promise((resolve) => {
      let grace = null;
      const transports = [...peer.getSenders(), ...peer.getReceivers()].map((each) => each.transport).filter(Boolean);
      const finish = (kind) => {
        clearTimeout(grace);
        this.giveUp = null;
        peer.removeEventListener('connectionstatechange', look);
        for (const each of transports) each.removeEventListener('statechange', look);
        resolve(kind);
      };
      const look = () => {
        clearTimeout(grace);
        if (peer.connectionState === 'closed' || transports.some((each) => ['closed', 'failed'].includes(each.state))) {
          finish('dead');
        } else if (peer.connectionState === 'failed') finish('line');
        else if (peer.connectionState === 'disconnected') grace = setTimeout(() => finish('line'), GRACE);
      };
      this.giveUp = () => finish('dead');
      peer.addEventListener('connectionstatechange', look);
      for (const each of transports) each.addEventListener('statechange', look);
      look();
    });
  }

  /** ICE restart; true when media flows again, false when only a new connection can help. */
  async restore(mine) {
    const peer = this.peer;
    const until = performance.now() + CONSENT;
    const offer = await peer.createOffer({ iceRestart: true });
    await peer.setLocalDescription(offer);
    const backoff = new Backoff();
    while (mine() && performance.now() < until) {
      try {
        const response = await this.ask(this.location, {
          method: 'PATCH',
          headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' },
          body: restartFragment(offer.sdp),
        });
        if (response.status !== 200) return false;
        this.etag = response.headers.get('ETag');
        this.answer = restarted(this.answer, await response.text());
        await peer.setRemoteDescription({ type: 'answer', sdp: this.answer });
        this.restarts += 1;
        return connected(peer, RESTORE_WITHIN);
      } catch (error) {
        if (!(error instanceof Problem)) return false;
      }
      await backoff.wait();
      if (peer.connectionState === 'connected') {
        await peer.setLocalDescription({ type: 'rollback' });
        return true; // the old path came back by itself
      }
    }
    return false;
  }

  ask(url, options) {
    const headers = { ...options.headers, Authorization: `Bearer ${this.token}` };
    return request(url, { ...options, headers }, this.send);
  }

  /** Tell the server and let go of the peer; works while the page is being left. */
  leave() {
    if (this.location) {
      const headers = { Authorization: `Bearer ${this.token}` };
      Promise.resolve(this.send(this.location, { method: 'DELETE', headers, keepalive: true })).catch(() => {
        // The server will miss us by itself: consent ends after 30 s.
      });
    }
    this.location = null;
    this.drop();
  }

  drop() {
    if (this.peer) this.peer.close();
    this.peer = null;
  }
}

/** Whether the peer reaches `connected` within `ms`. */
async function connected(peer, ms) {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    if (peer.connectionState === 'connected') return true;
    if (peer.connectionState === 'closed') return false;
    const change = new Promise((done) => peer.addEventListener('connectionstatechange', done, { once: true }));
    await Promise.race([sleep(250), change]);
  }
  return peer.connectionState === 'connected';
}

/** abs-capture-time is off by default; with it the server and the watching page know the true one-way latency. */
function offerCaptureTime(peer) {
  for (const transceiver of peer.getTransceivers()) {
    if (!transceiver.getHeaderExtensionsToNegotiate) continue;
    const extensions = transceiver.getHeaderExtensionsToNegotiate();
    for (const extension of extensions) if (extension.uri === CAPTURE_TIME) extension.direction = 'sendrecv';
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  }
}
