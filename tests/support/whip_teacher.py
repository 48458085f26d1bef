"""A teacher without a browser: publishes the test picture and tone by WHIP until killed.

``python -m tests.support.whip_teacher URL [--voice-only]`` with the token in the environment as ``TEACHER_TOKEN``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription

from tests.support.test_picture import PictureTrack, ToneTrack


async def teach(url: str, token: str, voice_only: bool) -> None:
    peer = RTCPeerConnection()
    peer.addTrack(ToneTrack())
    if not voice_only:
        peer.addTrack(PictureTrack())
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(url, data=peer.localDescription.sdp) as response:
            answer = await response.text()
            if response.status != 201:
                raise SystemExit(f"{response.status}: {answer}")
            location = urljoin(url, response.headers["Location"])
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        print("teaching", flush=True)
        told_to_stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
        await told_to_stop.wait()
        await http.delete(location)
        await peer.close()


if __name__ == "__main__":
    asyncio.run(teach(sys.argv[1], os.environ["TEACHER_TOKEN"], "--voice-only" in sys.argv))
