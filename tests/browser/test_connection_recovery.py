"""WHIP and WHEP clients keep themselves alive. The server here is a second peer in the same page, behind ``send``."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.support.browser import PATIENCE, Opener, Site, wait_until

pytestmark = pytest.mark.browser

SERVER = """async () => {
  const { Watcher } = await import('/static/js/whep.js');
  const canvas = document.createElement('canvas');
  const pen = canvas.getContext('2d');
  setInterval(() => {
    pen.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
    pen.fillRect(0, 0, 300, 150);
  }, 50);
  const stream = canvas.captureStream(20);
  const k = window.kz = { peers: [], log: [], refuse: null, restartStatus: 200, states: [] };
  const gathered = (peer) => new Promise((done) => {
    const look = () => peer.iceGatheringState === 'complete' && done();
    peer.addEventListener('icegatheringstatechange', look);
    look();
  });
  const credentials = (sdp, name) => new RegExp(`a=ice-${name}:(\\\\S+)`).exec(sdp)[1];
  async function answer(peer, offer) {
    await peer.setRemoteDescription({ type: 'offer', sdp: offer });
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered(peer);
    return peer.localDescription.sdp;
  }
  async function send(url, { method, headers, body, keepalive }) {
    const { pathname } = new URL(url, location.href);
    k.log.push({ method, url: pathname, match: headers['If-Match'], token: headers.Authorization, keepalive, body });
    if (k.refuse) {
      const status = k.refuse;
      if (status === 'line') throw new TypeError('Failed to fetch');
      return new Response(JSON.stringify({ code: 'test' }), { status, headers: { 'Retry-After': '0' } });
    }
    if (method === 'POST') {
      const peer = new RTCPeerConnection();
      peer.offer = body;
      k.peers.push(peer);
      stream.getTracks().forEach((track) => peer.addTrack(track, stream));
      const sdp = await answer(peer, body);
      const told = { Location: `/whep/x/secret${k.peers.length}`, ETag: '"one"' };
      return new Response(sdp, { status: 201, headers: told });
    }
    if (method === 'PATCH') {
      if (k.restartStatus !== 200) return new Response('{}', { status: k.restartStatus });
      const peer = k.peers[k.peers.length - 1];
      const offer = peer.offer
        .replace(/a=ice-ufrag:\\S+/g, `a=ice-ufrag:${credentials(body, 'ufrag')}`)
        .replace(/a=ice-pwd:\\S+/g, `a=ice-pwd:${credentials(body, 'pwd')}`);
      const sdp = await answer(peer, offer);
      const lines = sdp.split('\\r\\n').filter((line) => /^a=(ice-ufrag|ice-pwd|candidate)/.test(line));
      return new Response(lines.join('\\r\\n') + '\\r\\n', { status: 200, headers: { ETag: '"two"' } });
    }
    return new Response('', { status: 200 });
  }
  k.watcher = new Watcher({ lesson: 'x', token: 'secret-token', send });
  k.watcher.addEventListener('state', () => k.states.push(k.watcher.state));
  k.frames = async () => {
    const all = k.watcher.peer ? [...(await k.watcher.peer.getStats()).values()] : [];
    return all.reduce((frames, each) => frames + (each.framesDecoded || 0), 0);
  };
  k.watcher.start();
}"""


def state(page: Page) -> str:
    found: str = page.evaluate("() => kz.watcher.state")
    return found


def frames_flow(page: Page) -> bool:
    before = page.evaluate("() => kz.frames()")
    page.wait_for_timeout(400)
    return bool(page.evaluate("() => kz.frames()") > before)


def log(page: Page, method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("() => kz.log")
    return [each for each in found if each["method"] == method]


@pytest.fixture
def page(kongzhong_server: Site, open_page: Opener) -> Page:
    found = open_page(f"{kongzhong_server.url}/library")
    found.evaluate(SERVER)
    wait_until(lambda: state(found) == "up" and frames_flow(found), "the first picture")
    return found


def lose_the_line(page: Page) -> None:
    """As ``trouble`` says it after the grace time; waiting for ICE itself to notice would take five seconds."""
    page.evaluate(
        """() => {
          Object.defineProperty(kz.watcher.peer, 'connectionState', {configurable: true, get: () => 'failed'});
          const peer = kz.watcher.peer;
          peer.dispatchEvent(new Event('connectionstatechange'));
          delete peer.connectionState;
        }"""
    )


def test_a_lost_line_is_mended_by_an_ice_restart_of_the_same_peer(page: Page) -> None:
    before = page.evaluate("() => kz.watcher.peer.currentRemoteDescription.sdp")
    lose_the_line(page)
    wait_until(lambda: page.evaluate("() => kz.watcher.restarts") == 1 and state(page) == "up", "the restart")
    wait_until(lambda: frames_flow(page), "frames after the restart")
    patch = log(page, "PATCH")[0]
    assert patch["match"] == "*" and patch["token"] == "Bearer secret-token"
    assert "a=ice-ufrag:" in patch["body"] and "a=candidate" not in patch["body"]
    assert page.evaluate("() => kz.watcher.peer.currentRemoteDescription.sdp") != before
    assert page.evaluate("() => [kz.peers.length, kz.watcher.etag]") == [1, '"two"']
    assert page.evaluate("() => kz.states").count("restoring") == 1


def test_a_restart_waits_for_a_network_that_is_down(page: Page) -> None:
    page.evaluate("() => { kz.refuse = 'line'; }")
    lose_the_line(page)
    wait_until(lambda: len(log(page, "PATCH")) >= 1, "a PATCH that does not get through")
    page.evaluate("() => { kz.refuse = null; }")
    wait_until(lambda: state(page) == "up" and frames_flow(page), "the picture after the outage")
    assert page.evaluate("() => kz.peers.length") == 1


def test_a_server_that_has_forgotten_us_is_asked_anew(page: Page) -> None:
    page.evaluate("() => { kz.restartStatus = 404; }")
    lose_the_line(page)
    wait_until(lambda: len(log(page, "POST")) == 2, "a second POST")
    wait_until(lambda: state(page) == "up" and frames_flow(page), "the picture of the second connection")
    assert [each["url"] for each in log(page, "DELETE")] == ["/whep/x/secret1"]


def test_a_peer_that_closes_is_replaced(page: Page) -> None:
    page.evaluate("() => kz.peers[0].close()")
    wait_until(lambda: len(log(page, "POST")) == 2 or len(log(page, "PATCH")) > 0, "the loss to be noticed")
    page.evaluate("() => { kz.restartStatus = 404; }")
    wait_until(lambda: state(page) == "up" and frames_flow(page), "the picture of the next connection", PATIENCE * 2)


def test_a_busy_server_is_tried_again_a_refusal_is_final(page: Page) -> None:
    page.evaluate("() => { kz.refuse = 503; kz.watcher.kick(); }")
    wait_until(lambda: len(log(page, "POST")) >= 3, "more tries")
    assert state(page) in ("waiting", "connecting")
    page.evaluate("() => { kz.refuse = 403; }")
    wait_until(lambda: state(page) == "refused", "the refusal")
    tries = len(log(page, "POST"))
    page.wait_for_timeout(1500)
    assert len(log(page, "POST")) == tries
    assert page.evaluate("() => kz.watcher.problem.status") == 403


def test_leaving_the_page_deletes_the_resource(page: Page) -> None:
    page.evaluate("() => window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    wait_until(lambda: log(page, "DELETE"), "the DELETE")
    deletion = log(page, "DELETE")[0]
    assert deletion["keepalive"] is True and deletion["url"] == "/whep/x/secret1"
    assert page.evaluate("() => kz.watcher.peer") is None
    assert page.evaluate("() => kz.log.filter(({method}) => method === 'DELETE').length") == 1


def lines(*each: str) -> str:
    return "".join(f"{line}\r\n" for line in each)


CREDENTIALS = ("a=ice-ufrag:old1", "a=ice-pwd:oldpassword")
AUDIO = ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0")
SDP = lines("v=0", *CREDENTIALS, *AUDIO, "a=rtpmap:111 opus/48000/2", "a=candidate:1 1 udp 1 10.0.0.1 9 typ host")
NEWS = lines("a=ice-ufrag:new1", "a=ice-pwd:newpassword", "a=candidate:2 1 udp 1 10.0.0.2 9 typ host")
LINKS = ", ".join(
    (
        '<stun:s.test:3478>; rel="ice-server"',
        '<turn:t.test?transport=udp>; rel="ice-server"; username="u"; credential="p"; credential-type="password"',
        '</x/layer>; rel="urn:x"',
    )
)


def test_sdp_is_read_and_written_as_the_standards_say(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_page(f"{kongzhong_server.url}/library")

    def call(name: str, *arguments: object) -> Any:
        script = "async ([name, given]) => (await import('/static/js/sdp.js'))[name](...given)"
        return page.evaluate(script, [name, arguments])

    assert call("restartFragment", SDP) == lines(*CREDENTIALS, *AUDIO)
    fresh = call("restarted", SDP, NEWS)
    assert "new1" in fresh and "newpassword" in fresh and "10.0.0.2" in fresh
    assert "old" not in fresh and "10.0.0.1" not in fresh
    fmtp = "a=fmtp:111 minptime=10;useinbandfec=1;stereo=0;maxaveragebitrate=32000"
    assert lines("a=rtpmap:111 opus/48000/2", fmtp) in call("voiceOpus", SDP, 32000)
    assert call("iceServers", LINKS) == [
        {"urls": "stun:s.test:3478"},
        {"urls": "turn:t.test?transport=udp", "username": "u", "credential": "p"},
    ]


REAL = """async ([lesson, token]) => {
  const { Watcher } = await import('/static/js/whep.js');
  const video = document.createElement('video');
  video.muted = video.autoplay = true;
  document.body.append(video);
  const log = [];
  const send = (url, options) => { log.push(options.method); return fetch(url, options); };
  const watcher = new Watcher({ lesson, token, send });
  watcher.addEventListener('stream', ({ detail }) => { video.srcObject = detail; });
  const frames = async () => {
    const all = watcher.peer ? [...(await watcher.peer.getStats()).values()] : [];
    return all.reduce((sum, each) => sum + (each.framesDecoded || 0), 0);
  };
  window.kz = { watcher, log, frames };
  watcher.start();
}"""


def test_our_own_server_restarts_ice_for_a_client_of_ours(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("restart")
    page = open_page(f"{kongzhong_server.url}/library")
    with kongzhong_server.teaching(lesson):
        page.evaluate(REAL, [lesson, kongzhong_server.token(lesson, "classroom", "seat")])
        wait_until(lambda: state(page) == "up" and frames_flow(page), "the picture")
        etag = page.evaluate("() => kz.watcher.etag")
        lose_the_line(page)
        wait_until(lambda: page.evaluate("() => kz.watcher.restarts") == 1 and state(page) == "up", "the restart")
        wait_until(lambda: frames_flow(page), "frames after the restart")
        assert page.evaluate("() => kz.watcher.etag") != etag
        assert page.evaluate("() => kz.log") == ["POST", "PATCH"]
