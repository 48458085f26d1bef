/** The level of a sound, 0..1, as an ear would put it: RMS in decibels over a range of 60. */

const FLOOR = -60; // dBFS that still moves the bar

let context = null;

/** One context for the page; browsers start it asleep until somebody has touched the page. */
export function audioContext() {
  if (!context) context = new (window.AudioContext || window.webkitAudioContext)();
  return context;
}

export async function wakeAudio() {
  if (audioContext().state === 'suspended') await audioContext().resume();
}

export class Meter {
  constructor(stream) {
    this.analyser = audioContext().createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source = null;
    if (stream) this.listen(stream);
  }

  /** Measure another stream from now on; null measures nothing. */
  listen(stream) {
    if (this.source) this.source.disconnect();
    const some = stream && stream.getAudioTracks().length;
    this.source = some ? audioContext().createMediaStreamSource(stream) : null;
    if (this.source) this.source.connect(this.analyser);
  }

  level() {
    if (!this.source) return 0;
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / this.samples.length || 1e-12);
    return Math.min(1, Math.max(0, 1 - decibels / FLOOR));
  }
}

/** Several voices as one track: the microphone and the sound of a film, say. */
export class Mixer {
  constructor(tracks) {
    this.output = audioContext().createMediaStreamDestination();
    this.sources = tracks.map((track) => audioContext().createMediaStreamSource(new MediaStream([track])));
    for (const source of this.sources) source.connect(this.output);
  }

  get track() {
    return this.output.stream.getAudioTracks()[0];
  }

  close() {
    for (const source of this.sources) source.disconnect();
  }
}
