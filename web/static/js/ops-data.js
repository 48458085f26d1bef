/** What /api/ops says, in one shape: figures by name, series in seconds, alerts in words. */

const POINTS = 720; // one hour of samples, as much as the server keeps

/** Our names for the lines → the server's. */
const SERIES = {
  lessons: 'lessons',
  seats: 'seats',
  joins: 'joins_per_minute',
  latency_p50: 'latency_p50_ms',
  latency_p99: 'latency_p99_ms',
  loss: 'loss',
  lag: 'recorder_lag_ms',
};

export function figuresOf({ lessons, seats, joins_per_minute: joins, latency_ms: latency, loss, recorder }) {
  const known = (value) => value ?? NaN;
  return {
    lessons, seats, joins,
    latency_p50: known(latency.p50),
    latency_p99: known(latency.p99),
    loss: known(loss),
    lag: known(recorder.lag_ms),
  };
}

/** The series so far with what is newer in this answer; each poll asks only for that. */
export function mergeSeries(before, said) {
  const merged = {};
  for (const [ours, theirs] of Object.entries(SERIES)) {
    const old = before[ours] || [];
    const last = old.length ? old[old.length - 1][0] : -Infinity;
    merged[ours] = [...old, ...((said || {})[theirs] || []).filter(([time]) => time > last)].slice(-POINTS);
  }
  return merged;
}

/** The time of the newest point, in seconds; 0 before the first. */
export function newestOf(series) {
  const last = (points) => (points.length ? points[points.length - 1][0] : 0);
  return Math.max(0, ...Object.values(series).map(last));
}

/** `unrecorded`: polls in a row with a live lesson that nothing records; the first moment of a lesson is one. */
export function alertsOf({ recorder, loss, latency_ms: latency }, unrecorded) {
  const { failing = 0, buffering = 0 } = recorder.states || {};
  const alerts = [];
  if (failing) alerts.push({ kind: 'bad', key: 'ops.alert.failing', count: failing });
  if (buffering) alerts.push({ kind: 'poor', key: 'ops.alert.buffering', count: buffering });
  if (unrecorded > 1) alerts.push({ kind: 'bad', key: 'ops.alert.norecorder' });
  if (loss > 0.08) alerts.push({ kind: 'poor', key: 'ops.alert.loss' });
  if (latency.p99 > 2000) alerts.push({ kind: 'poor', key: 'ops.alert.latency' });
  return alerts;
}
