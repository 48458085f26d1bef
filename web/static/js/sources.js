/** Where the teacher's picture and voice come from: camera and microphone, a screen, a video file. */

import { audioContext, Mixer, wakeAudio } from './meter.js';

const STORE = 'kongzhong.device.';
const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const VOICE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

export const remembered = (kind) => {
  try {
    return localStorage.getItem(STORE + kind) || '';
  } catch {
    return '';
  }
};

export const remember = (kind, id) => {
  try {
    localStorage.setItem(STORE + kind, id);
  } catch {
    // then the choice holds for this page only
  }
};

/** Why there is no picture or voice, as a key of the texts. */
export function reasonOf(error) {
  if (!navigator.mediaDevices) return window.isSecureContext ? 'device.unsupported' : 'device.insecure';
  return {
    NotAllowedError: 'device.denied',
    SecurityError: 'device.denied',
    NotFoundError: 'device.none',
    DevicesNotFoundError: 'device.none',
    NotReadableError: 'device.busy',
    TrackStartError: 'device.busy',
    AbortError: 'device.busy',
    OverconstrainedError: 'device.none',
  }[error && error.name] || 'device.failed';
}

const wanted = (id, constraints) => ({ ...constraints, ...(id ? { deviceId: { ideal: id } } : {}) });

/** Camera and microphone; a machine without a camera still teaches by voice. Throws when there is not even a voice. */
export async function openDevices(camera, microphone) {
  if (!navigator.mediaDevices) throw new DOMException('no media devices', 'NotSupportedError');
  const audio = wanted(microphone, VOICE);
  try {
    return await navigator.mediaDevices.getUserMedia({ audio, video: wanted(camera, PICTURE) });
  } catch (error) {
    if (!['NotFoundError', 'NotReadableError', 'OverconstrainedError', 'AbortError'].includes(error.name)) throw error;
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    stream.missing = reasonOf(error);
    return stream;
  }
}

export async function listDevices() {
  const all = await navigator.mediaDevices.enumerateDevices();
  const of = (kind) => all.filter((each) => each.kind === kind && each.deviceId);
  return { cameras: of('videoinput'), microphones: of('audioinput') };
}

/** A screen or window, with its sound where the browser gives it. The hint keeps letters sharp. */
export async function openScreen() {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
  const video = stream.getVideoTracks()[0];
  video.contentHint = 'detail';
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  return { video, audio: stream.getAudioTracks()[0] || null, stop };
}

/** A video file, played in `element` (whose controls the teacher uses) and sent from there. */
export async function openFilm(element, file) {
  const url = URL.createObjectURL(file);
  element.src = url;
  await element.play(); // throws NotSupportedError for a file this browser cannot play
  const stream = (element.captureStream || element.mozCaptureStream).call(element);
  const [video, audio] = [stream.getVideoTracks()[0] || null, stream.getAudioTracks()[0] || null];
  const stop = () => {
    element.pause();
    stream.getTracks().forEach((track) => track.stop());
    element.removeAttribute('src');
    element.load();
    URL.revokeObjectURL(url);
  };
  return { video, audio, stop };
}

/** The voice that is sent: the microphone alone, or mixed with the sound of what is shown. */
export class Voice {
  constructor() {
    this.mixer = null;
  }

  async track(microphone, extra) {
    this.close();
    if (!extra) return microphone;
    await wakeAudio();
    if (audioContext().state !== 'running') return microphone;
    this.mixer = new Mixer([microphone, extra].filter(Boolean));
    return this.mixer.track;
  }

  close() {
    if (this.mixer) this.mixer.close();
    this.mixer = null;
  }
}
