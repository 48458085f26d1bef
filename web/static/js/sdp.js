/** The few lines of SDP that a WHIP or WHEP client has to read or write itself. */

const lines = (sdp) => sdp.split(/\r?\n/).filter(Boolean);
const first = (all, prefix) => (all.find((line) => line.startsWith(prefix)) || '').slice(prefix.length);

/** The body of a PATCH that restarts ICE (RFC 9725, 4.3.3): our new credentials; ICE-lite needs no candidates. */
export function restartFragment(offer) {
  const all = lines(offer);
  const media = all.findIndex((line) => line.startsWith('m='));
  const section = all.slice(media);
  return [
    `a=ice-ufrag:${first(all, 'a=ice-ufrag:')}`,
    `a=ice-pwd:${first(all, 'a=ice-pwd:')}`,
    all[media],
    `a=mid:${first(section, 'a=mid:')}`,
    '',
  ].join('\r\n');
}

/** The answer we hold, with the credentials (and candidates, where there are some) of the peer's fragment. */
export function restarted(answer, fragment) {
  const news = lines(fragment);
  const ufrag = first(news, 'a=ice-ufrag:');
  const pwd = first(news, 'a=ice-pwd:');
  if (!ufrag || !pwd) throw new Error('fragment without credentials');
  const candidates = news.filter((line) => line.startsWith('a=candidate:'));
  const out = [];
  let placed = false;
  for (const line of lines(answer)) {
    if (line.startsWith('a=ice-ufrag:')) out.push(`a=ice-ufrag:${ufrag}`);
    else if (line.startsWith('a=ice-pwd:')) {
      out.push(`a=ice-pwd:${pwd}`);
    } else if (line.startsWith('a=candidate:') && candidates.length) {
      if (!placed) out.push(...candidates);
      placed = true;
    } else out.push(line);
  }
  return `${out.join('\r\n')}\r\n`;
}

/** Opus as a teacher's voice needs it (RFC 7587): in-band FEC, mono, no more than `bitrate` bit/s. */
export function voiceOpus(sdp, bitrate) {
  const payload = (/a=rtpmap:(\d+) opus\/48000/i.exec(sdp) || [])[1];
  if (!payload) return sdp;
  const wanted = { minptime: '10', useinbandfec: '1', stereo: '0', maxaveragebitrate: String(bitrate) };
  const write = (given) => {
    const all = { ...Object.fromEntries(given.split(';').map((pair) => pair.trim().split('='))), ...wanted };
    const pairs = Object.entries(all).filter(([name]) => name).map(([name, value]) => `${name}=${value}`);
    return `a=fmtp:${payload} ${pairs.join(';')}`;
  };
  const present = new RegExp(`a=fmtp:${payload} ([^\\r\\n]*)`);
  if (present.test(sdp)) return sdp.replace(present, (_, given) => write(given));
  const map = new RegExp(`(a=rtpmap:${payload} [^\\r\\n]*)(\\r?\\n)`);
  return sdp.replace(map, (_, line, end) => `${line}${end}${write('')}${end}`);
}

/** ICE servers from Link headers (RFC 9725, 4.6). */
export function iceServers(header) {
  const servers = [];
  for (const part of (header || '').split(/,\s*(?=<)/)) {
    const target = /<((?:stun|turn)s?:[^>]+)>/.exec(part);
    if (!target || !/rel="?ice-server"?/.test(part)) continue;
    const field = (name) => (new RegExp(`${name}="([^"]*)"`).exec(part) || [])[1];
    const [username, credential] = [field('username'), field('credential')];
    servers.push({ urls: target[1], ...(username ? { username, credential } : {}) });
  }
  return servers;
}
