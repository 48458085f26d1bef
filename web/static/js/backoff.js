/** Waiting before the next try: doubling, capped, with jitter, cut short when the machine says it is online again. */

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Backoff {
  /** The cap stays low: a dropped classroom has to be back within 5 s of its line's return. */
  constructor({ first = 400, cap = 4000 } = {}) {
    this.first = first;
    this.cap = cap;
    this.tries = 0;
  }

  reset() {
    this.tries = 0;
  }

  /** Milliseconds before the next try: between half and all of the step, so that a county does not knock in step. */
  next() {
    const step = Math.min(this.cap, this.first * 2 ** this.tries);
    this.tries += 1;
    return step * (0.5 + Math.random() / 2);
  }

  async wait(atLeast = 0) {
    const ms = Math.max(this.next(), atLeast);
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        window.removeEventListener('online', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      if (!atLeast) window.addEventListener('online', done);
    });
  }
}
