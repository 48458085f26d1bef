/** What a watching connection is like: sampled once a second for the page, reported each 5 s for the school's ops. */

const SAMPLE = 1_000; // ms
const REPORT = 5; // samples
const SANE = 30_000; // ms; a latency beyond that is two clocks disagreeing, not a line

export class LineStats extends EventTarget {
  constructor({ watcher, video, socket }) {
    super();
    this.watcher = watcher;
    this.video = video;
    this.socket = socket;
    this.now = null;
    this.last = null;
    this.count = 0;
    this.peer = null;
    this.captured = null; // ms between capture and display of the last frame, where the browser knows
    this.timer = setInterval(() => this.sample(), SAMPLE);
    this.watchFrames();
  }

  stop() {
    clearInterval(this.timer);
  }

  /** requestVideoFrameCallback tells the first frame, and with a capture time the latency, to the millisecond. */
  watchFrames() {
    if (!this.video.requestVideoFrameCallback) return;
    const each = (_, frame) => {
      const { peer, startedAt } = this.watcher;
      if (peer && this.firstFrameOf !== peer && this.video.srcObject === this.watcher.stream) {
        this.firstFrameOf = peer;
        this.firstFrameMs = performance.now() - startedAt;
        this.dispatchEvent(new Event('first-frame'));
      }
      const latency = frame.captureTime === undefined ? NaN : frame.expectedDisplayTime - frame.captureTime;
      this.captured = latency > 0 && latency < SANE ? latency : null;
      this.video.requestVideoFrameCallback(each);
    };
    this.video.requestVideoFrameCallback(each);
  }

  async sample() {
    const { peer } = this.watcher;
    if (!peer || this.watcher.state !== 'up') {
      this.now = null;
      return;
    }
    if (this.peer !== peer) {
      this.peer = peer;
      this.last = null;
    }
    const found = read(await peer.getStats());
    const before = this.last || found;
    this.last = found;
    this.now = {
      frames: found.framesDecoded - before.framesDecoded,
      voice: found.audioPackets - before.audioPackets,
      loss: share(found.lost - before.lost, found.packets - before.packets),
      latency: this.captured ?? estimate(found, before),
      rtt: found.rtt,
      width: found.width,
      height: found.height,
      decoded: found.framesDecoded,
      freezes: found.freezes,
    };
    this.dispatchEvent(new Event('sample'));
    this.count += 1;
    if (this.count % REPORT === 0) this.report();
  }

  report() {
    const round = (value) => (Number.isFinite(value) ? Math.round(value) : undefined);
    this.socket.send({
      type: 'stats',
      join_ms: round(this.watcher.joinMs ?? NaN),
      first_frame_ms: this.firstFrameOf === this.watcher.peer ? round(this.firstFrameMs) : undefined,
      latency_ms: round(this.now.latency),
      loss: Math.round(this.now.loss * 10_000) / 10_000,
      frames_decoded: this.now.decoded,
      freezes: this.now.freezes,
      layer: (this.socket.snapshot.layer || {}).rid || undefined,
    });
  }
}

/** One reading of getStats, in milliseconds and counts. */
export function read(report) {
  const found = {
    framesDecoded: 0, audioPackets: 0, packets: 0, lost: 0, freezes: 0,
    width: 0, height: 0, rtt: NaN, buffered: 0, emitted: 0, decodeMs: 0,
  };
  for (const entry of report.values()) {
    if (entry.type === 'inbound-rtp') {
      found.packets += entry.packetsReceived || 0;
      found.lost += Math.max(0, entry.packetsLost || 0);
      if (entry.kind === 'audio') found.audioPackets = entry.packetsReceived || 0;
      else {
        found.framesDecoded = entry.framesDecoded || 0;
        found.freezes = entry.freezeCount || 0;
        found.width = entry.frameWidth || 0;
        found.height = entry.frameHeight || 0;
        found.buffered = (entry.jitterBufferDelay || 0) * 1000;
        found.emitted = entry.jitterBufferEmittedCount || 0;
        found.decodeMs = entry.framesDecoded ? ((entry.totalDecodeTime || 0) * 1000) / entry.framesDecoded : 0;
      }
    } else if (entry.type === 'candidate-pair' && entry.nominated && entry.currentRoundTripTime !== undefined) {
      found.rtt = entry.currentRoundTripTime * 1000;
    }
  }
  return found;
}

/** Without a capture time: half a round trip, the jitter buffer, the decoder. */
function estimate(found, before) {
  const emitted = found.emitted - before.emitted;
  const buffer = emitted > 0 ? (found.buffered - before.buffered) / emitted : NaN;
  return (Number.isFinite(found.rtt) ? found.rtt / 2 : 0) + buffer + found.decodeMs;
}

const share = (lost, received) => (lost > 0 && lost + received > 0 ? lost / (lost + received) : 0);

/** How the teacher's uplink does: rate, loss, and what holds the picture back. */
export function readUplink(report) {
  const found = { active: 0, limit: 'none', loss: 0, rtt: NaN, bytes: 0, height: 0 };
  for (const entry of report.values()) {
    if (entry.type === 'outbound-rtp' && entry.kind === 'video') {
      if (entry.framesPerSecond > 0) found.active += 1;
      found.bytes += entry.bytesSent || 0;
      found.height = Math.max(found.height, entry.framesPerSecond > 0 ? entry.frameHeight || 0 : 0);
      if (['cpu', 'bandwidth'].includes(entry.qualityLimitationReason)) found.limit = entry.qualityLimitationReason;
    } else if (entry.type === 'remote-inbound-rtp') {
      found.loss = Math.max(found.loss, entry.fractionLost || 0);
    } else if (entry.type === 'candidate-pair' && entry.nominated) {
      if (entry.currentRoundTripTime !== undefined) found.rtt = entry.currentRoundTripTime * 1000;
    }
  }
  return found;
}
