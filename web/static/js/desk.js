/** The teacher's desk: what is shown and said right now, and how it reaches the publisher when it changes. */

import { openDevices, openFilm, openScreen, reasonOf, remembered, Voice } from './sources.js';
import { slateTrack } from './slate.js';

/**
 * Events: `change` (something to draw), `trouble` (detail: a key of the texts).
 * The invariant: what `outgoing()` says is what the publisher sends, also after every reconnect.
 */
export class Desk extends EventTarget {
  constructor({ film, pausedWords }) {
    super();
    this.film = film;
    this.pausedWords = pausedWords;
    this.devices = null;
    this.extra = null; // a screen or film on top of the camera
    this.source = 'camera';
    this.muted = false;
    this.paused = false;
    this.slate = null;
    this.voice = new Voice();
    this.sent = { audio: null, video: null };
    this.publisher = null;
    film.addEventListener('ended', () => this.source === 'film' && this.choose('camera'));
  }

  get microphone() {
    return this.devices ? this.devices.getAudioTracks()[0] || null : null;
  }

  get camera() {
    return this.devices ? this.devices.getVideoTracks()[0] || null : null;
  }

  /** What the teacher sees of it: the track that would be sent if nothing were paused. */
  get shown() {
    return this.source === 'camera' ? this.camera : this.extra && this.extra.video;
  }

  /** Open (or open anew) camera and microphone; resolves with a key of the texts when something is missing. */
  async open(camera = remembered('camera'), microphone = remembered('microphone')) {
    try {
      const fresh = await openDevices(camera, microphone);
      const old = this.devices;
      this.devices = fresh;
      for (const track of fresh.getTracks()) track.addEventListener('ended', () => this.lost(track));
      if (this.microphone) this.microphone.enabled = !this.muted;
      await this.push();
      if (old) old.getTracks().forEach((track) => track.stop());
      this.changed();
      return fresh.missing ? 'device.voiceonly' : null;
    } catch (error) {
      this.changed();
      return reasonOf(error);
    }
  }

  /** A cable was pulled, or the system took the device away. */
  lost(track) {
    if (!this.devices || !this.devices.getTracks().includes(track)) return;
    const detail = track.kind === 'audio' ? 'teach.lost.mic' : 'teach.lost.camera';
    this.dispatchEvent(new CustomEvent('trouble', { detail }));
    this.changed();
  }

  /** Show the camera, a screen, or a film; resolves with a key of the texts when that did not work. */
  async choose(source, file) {
    let extra = null;
    try {
      if (source === 'screen') extra = await openScreen();
      else if (source === 'film') extra = await openFilm(this.film, file);
    } catch (error) {
      if (source === 'screen' && error.name === 'NotAllowedError') return null; // the teacher changed their mind
      return source === 'film' ? 'teach.film.failed' : 'teach.screen.failed';
    }
    const old = this.extra;
    this.extra = extra;
    this.source = source;
    if (extra && extra.video) {
      extra.video.addEventListener('ended', () => this.extra === extra && this.choose('camera'));
    }
    await this.push();
    if (old) old.stop();
    this.changed();
    return null;
  }

  mute(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.changed();
  }

  async pause(paused) {
    this.paused = paused;
    await this.push();
    this.changed();
  }

  async outgoing() {
    const extra = this.extra && this.extra.audio;
    if (this.mixed !== extra || this.mixedMic !== this.microphone) {
      this.sound = await this.voice.track(this.microphone, extra);
      [this.mixed, this.mixedMic] = [extra, this.microphone];
    }
    const hidden = this.paused || !this.shown;
    if (hidden && !this.slate) this.slate = slateTrack(this.pausedWords);
    if (!hidden && this.slate) {
      const old = this.slate;
      this.slate = null;
      setTimeout(() => old.stop(), 500); // after the sender has let go of it
    }
    return { audio: this.sound, video: hidden ? this.slate : this.shown };
  }

  /** Bring the publisher to what is on the desk now. */
  async push() {
    if (!this.publisher) return;
    const now = await this.outgoing();
    for (const kind of ['audio', 'video']) {
      if (this.sent[kind] === now[kind]) continue;
      this.sent[kind] = now[kind];
      await this.publisher.replace(kind, now[kind]);
    }
  }

  async attach(makePublisher) {
    const tracks = await this.outgoing();
    this.sent = tracks;
    this.publisher = makePublisher(tracks);
    this.publisher.start();
    return this.publisher;
  }

  close() {
    if (this.publisher) this.publisher.close();
    this.publisher = null;
    if (this.extra) this.extra.stop();
    if (this.slate) this.slate.stop();
    this.voice.close();
    if (this.devices) this.devices.getTracks().forEach((track) => track.stop());
    this.devices = null;
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}
