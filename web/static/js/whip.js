/** The teacher's side: publish one picture in three layers and one voice (WHIP, RFC 9725). */

import { Connection } from './connection.js';
import { voiceOpus } from './sdp.js';

const VOICE = 32_000; // bit/s
/** Lowest first: that is the order in which a thin uplink is filled. Heights in pixels, rates in bit/s. */
const LAYERS = [
  { rid: 'l', height: 180, maxBitrate: 180_000, maxFramerate: 15 },
  { rid: 'm', height: 360, maxBitrate: 500_000, maxFramerate: 30 },
  { rid: 'h', height: 720, maxBitrate: 1_400_000, maxFramerate: 30 },
];
const SCREEN = { scales: [4, 2, 1], maxFramerate: 10 };

/** Encodings for a picture of `height` lines; a screen keeps its full size, since its text must stay readable. */
export function encodings(height, screen = false) {
  return LAYERS.map(({ rid, height: wanted, maxBitrate, maxFramerate }, index) => ({
    rid,
    active: true,
    maxBitrate,
    maxFramerate: screen ? SCREEN.maxFramerate : maxFramerate,
    scaleResolutionDownBy: screen ? SCREEN.scales[index] : Math.max(1, (height || 720) / wanted),
  }));
}

/** H.264 first (recordings become MP4, which plays everywhere), VP8 second, and what repairs them. */
function preferH264(transceiver) {
  if (!transceiver.setCodecPreferences || !RTCRtpReceiver.getCapabilities) return;
  const all = RTCRtpReceiver.getCapabilities('video').codecs;
  const rank = ({ mimeType, sdpFmtpLine = '' }) => {
    if (mimeType === 'video/H264') {
      if (!sdpFmtpLine.includes('packetization-mode=1')) return null;
      return { '42e0': 0, 4200: 1 }[(/profile-level-id=(\w{4})/.exec(sdpFmtpLine) || [])[1]] ?? null; // baseline only
    }
    return { 'video/VP8': 2, 'video/rtx': 3 }[mimeType] ?? null;
  };
  const wanted = all.map((codec) => [rank(codec), codec]).filter(([order]) => order !== null);
  wanted.sort(([a], [b]) => a - b);
  if (wanted.length) transceiver.setCodecPreferences(wanted.map(([, codec]) => codec));
}

export class Publisher extends Connection {
  /** `tracks` is {audio, video}; either may be null and come later. */
  constructor({ lesson, token, publication, tracks, send }) {
    const query = publication ? `?publication=${encodeURIComponent(publication)}` : '';
    super({ endpoint: `/whip/${encodeURIComponent(lesson)}${query}`, token, send });
    this.tracks = tracks;
    this.senders = {};
  }

  prepare(peer) {
    const stream = new MediaStream();
    const voice = peer.addTransceiver(this.tracks.audio || 'audio', {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: [{ maxBitrate: VOICE, priority: 'high', networkPriority: 'high' }],
    });
    const picture = peer.addTransceiver(this.tracks.video || 'video', {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: encodings(heightOf(this.tracks.video), isScreen(this.tracks.video)),
    });
    preferH264(picture);
    this.senders = { audio: voice.sender, video: picture.sender };
  }

  shape(answer) {
    return voiceOpus(answer, VOICE);
  }

  /** Send another track of the same kind from now on; nothing is negotiated, nobody is interrupted. */
  async replace(kind, track) {
    this.tracks = { ...this.tracks, [kind]: track };
    const sender = this.peer && this.senders[kind];
    if (!sender) return;
    await sender.replaceTrack(track);
    if (kind === 'video' && track) await this.fit(sender, track);
  }

  async fit(sender, track) {
    const parameters = sender.getParameters();
    const wanted = encodings(heightOf(track), isScreen(track));
    for (const encoding of parameters.encodings || []) {
      const layer = wanted.find(({ rid }) => rid === encoding.rid);
      if (layer) Object.assign(encoding, layer);
    }
    await sender.setParameters(parameters);
  }
}

const heightOf = (track) => (track && track.getSettings().height) || 0;
const isScreen = (track) => Boolean(track && track.contentHint === 'detail');
