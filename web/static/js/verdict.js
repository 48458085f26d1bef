/** What the classroom is told: one state from everything that is known. A pure function, so that it can be tested. */

const POOR_LOSS = 0.04; // share of packets; above it the picture visibly suffers
const FROZEN = 4; // samples (s) without a frame before we speak of voice only
const SETTLED = 5; // s in which a connection may still climb to its layer

/** The layers of the picture that is on, lowest first. */
export function layersOf(publications) {
  const camera = publications.get('camera/video');
  return (camera && camera.layers) || [];
}

const alive = (publications, kind) =>
  [...publications.values()].some((each) => each.kind === kind && each.publication === 'camera' && !each.silent);

/**
 * `line` counts since the connection came up: frames, voices (audio packets), still and voiceStill (samples without),
 * age (s), loss, height; `wish` is the layer asked for.
 *
 * @returns one of nopass, refused, ended, waiting, away, connecting, live, poor, voice, reconnecting
 */
export function verdict({ pass, lesson, watcher, socket, publications, line, everLive }) {
  if (!pass) return 'nopass';
  if (lesson && (lesson.state === 'ended' || lesson.state === 'archived')) return 'ended';
  if (watcher.code === 'lesson-ended' || socket.code === 4410) return 'ended';
  if (watcher.state === 'refused' || socket.state === 'refused') return 'refused';
  const sends = alive(publications, 'video') || alive(publications, 'audio');
  if (watcher.state === 'up' && socket.state === 'open' && !sends && line.still > 0 && line.voiceStill > 0) {
    return everLive && lesson && lesson.state === 'live' ? 'away' : 'waiting';
  }
  const moving = watcher.state === 'up' && line.still < FROZEN && line.frames > 0;
  if (moving) return suffers({ publications, line }) ? 'poor' : 'live';
  if (watcher.state === 'up' && line.voiceStill < FROZEN && line.voices > 0) {
    // Before the first frame a voice alone only means that the picture is still on its way.
    return everLive || line.age > SETTLED ? 'voice' : 'connecting';
  }
  if (watcher.state === 'restoring' || watcher.state === 'waiting' || watcher.tries > 1) return 'reconnecting';
  return everLive ? 'reconnecting' : 'connecting';
}

function suffers({ publications, line }) {
  if (line.loss > POOR_LOSS) return true;
  if (line.wish !== null || line.age < SETTLED) return false; // a lower picture was asked for, or is still climbing
  const best = Math.max(0, ...layersOf(publications).map(({ height }) => height));
  return best > 0 && line.height > 0 && line.height < best;
}
