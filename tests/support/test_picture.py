"""A picture and a tone that a test can recognise: red left, blue right, a white bar that wanders; 440 Hz."""

from __future__ import annotations

import asyncio
import fractions
import math
import time
from array import array
from pathlib import Path

import av
from aiortc import MediaStreamTrack
from av import AudioFrame, VideoFrame
from PIL import Image

WIDTH, HEIGHT, RATE = 320, 180, 15
SAMPLES, SAMPLE_RATE = 960, 48_000


def picture(number: int) -> VideoFrame:
    """Frame ``number`` of the test picture."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (210, 40, 40))
    image.paste((40, 60, 210), (WIDTH // 2, 0, WIDTH, HEIGHT))
    x = (number * 6) % (WIDTH - 20)
    image.paste((255, 255, 255), (x, 70, x + 20, 110))
    return VideoFrame.from_image(image)


def tone(position: int) -> AudioFrame:
    """20 ms of 440 Hz, beginning at sample ``position``."""
    turn = 2 * math.pi * 440 / SAMPLE_RATE
    wave = array("h", (int(9000 * math.sin(turn * (position + each))) for each in range(SAMPLES)))
    frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
    frame.planes[0].update(wave.tobytes())
    frame.sample_rate = SAMPLE_RATE
    return frame


def record(path: Path, seconds: int = 12) -> None:
    """The test picture as an MP4 (H.264) with a keyframe each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": str(RATE)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * RATE):
            container.mux(stream.encode(picture(number)))
        container.mux(stream.encode())


class _Paced(MediaStreamTrack):
    def __init__(self) -> None:
        super().__init__()
        self.began = 0.0
        self.number = 0

    async def pace(self, interval: float) -> int:
        """The number of the next frame, when its time has come."""
        if not self.began:
            self.began = time.monotonic()
        number = self.number
        self.number += 1
        await asyncio.sleep(max(0.0, self.began + number * interval - time.monotonic()))
        return number


class PictureTrack(_Paced):
    kind = "video"

    async def recv(self) -> VideoFrame:
        number = await self.pace(1 / RATE)
        frame = picture(number)
        frame.pts, frame.time_base = number * 90_000 // RATE, fractions.Fraction(1, 90_000)
        return frame


class ToneTrack(_Paced):
    kind = "audio"

    async def recv(self) -> AudioFrame:
        number = await self.pace(SAMPLES / SAMPLE_RATE)
        frame = tone(number * SAMPLES)
        frame.pts, frame.time_base = number * SAMPLES, fractions.Fraction(1, SAMPLE_RATE)
        return frame
