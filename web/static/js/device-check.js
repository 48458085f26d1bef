/** Before the lesson: which camera, which microphone, does it hear me, and what to do when something is missing. */

import { $, make, show } from './dom.js';
import { say, sayPlain } from './i18n.js';
import { Meter } from './meter.js';
import { listDevices, remember } from './sources.js';

const LOUD = 0.35; // of the meter: somebody speaks
const QUIET_AFTER = 4_000; // ms without a loud moment before we ask for one
const FALL = 0.92; // of the bar, from one picture to the next

export class DeviceCheck {
  /** `parts`: the elements {trouble, again, start, cameras, microphones, meter, words, live}. */
  constructor(desk, parts) {
    this.desk = desk;
    this.parts = parts;
    this.meter = null;
    parts.again.addEventListener('click', () => this.open());
    parts.cameras.addEventListener('change', () => this.choose('camera', parts.cameras));
    parts.microphones.addEventListener('change', () => this.choose('microphone', parts.microphones));
    this.follow();
  }

  choose(kind, picker) {
    remember(kind, picker.value);
    this.open(this.parts.cameras.value, this.parts.microphones.value);
  }

  /** True when there is something to teach with. */
  async open(camera, microphone) {
    const { trouble, again, start } = this.parts;
    const missing = await this.desk.open(camera, microphone);
    show(trouble, Boolean(missing));
    if (missing) say(trouble, missing);
    show(again, Boolean(missing) && missing !== 'device.insecure');
    start.disabled = !this.desk.devices;
    if (!this.desk.devices) return false;
    if (!this.meter) this.meter = new Meter();
    this.meter.listen(this.desk.devices);
    await this.list();
    return true;
  }

  async list() {
    const { cameras, microphones } = await listDevices();
    fill(this.parts.cameras, cameras, this.desk.camera, 'teach.camera.none');
    fill(this.parts.microphones, microphones, this.desk.microphone, 'teach.microphone.none');
  }

  /** Draw the level, in the check and later beside the lesson. */
  follow() {
    const { meter: bar, words, live } = this.parts;
    const fill = $('.meter-fill', bar);
    let shown = 0;
    let loudAt = performance.now();
    const step = (now) => {
      const level = this.meter ? this.meter.level() : 0;
      shown = Math.max(level, shown * FALL);
      for (const each of [fill, live]) each.style.transform = `scaleX(${shown.toFixed(3)})`;
      bar.setAttribute('aria-valuenow', String(Math.round(shown * 100)));
      if (level > LOUD) loudAt = now;
      const quiet = now - loudAt > QUIET_AFTER;
      say(words, !this.desk.microphone ? 'teach.meter.none' : quiet ? 'teach.meter.quiet' : 'teach.meter.good');
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}

function fill(picker, devices, track, noneKey) {
  const used = track ? track.getSettings().deviceId : '';
  const options = devices.map(({ deviceId, label }, index) => {
    const option = make('option', { value: deviceId });
    if (label) sayPlain(option, label);
    else say(option, 'teach.device', { number: index + 1 });
    option.selected = deviceId === used;
    return option;
  });
  picker.replaceChildren(...(options.length ? options : [make('option', { key: noneKey })]));
  picker.disabled = options.length < 2;
}
