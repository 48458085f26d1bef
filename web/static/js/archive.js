/** After the bell: wait until the recording is in the library, and say how long the lesson was. */

import { api } from './api.js';
import { sleep } from './backoff.js';
import { show } from './dom.js';
import { clock, say } from './i18n.js';
import { link } from './token.js';

const EVERY = 2_000; // ms

/** `parts`: the elements {length, state, open}. Returns when there is nothing more to wait for. */
export async function awaitArchive(pass, { length, state, open }) {
  say(state, 'teach.archive.making');
  for (;;) {
    try {
      const lesson = await api(`/api/lessons/${encodeURIComponent(pass.lesson)}`, { token: pass.token });
      const [from, to] = [Date.parse(lesson.started_at), Date.parse(lesson.ended_at)];
      if (from && to) say(length, 'teach.ended.lead', { time: clock((to - from) / 1000) });
      if (lesson.resource) {
        say(state, 'teach.archive.ready');
        open.href = link(`/watch/${lesson.resource}`, pass);
        show(open, true);
        return;
      }
      if (!lesson.started_at) {
        say(state, 'teach.archive.none');
        return;
      }
    } catch (problem) {
      if (problem.status === 401 || problem.status === 404) return;
    }
    await sleep(EVERY);
  }
}
