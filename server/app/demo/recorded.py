"""What is in a recorded file: every picture decoded, its burnt-in clock read; how much sound there is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from loadtest import clock

LOOP_EDGE = 50
"""A clock this close to the highest seen, followed by one this close to zero, is the clip beginning again."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Durations in seconds of media time, from the first to the end of the last."""

    frames: int
    readable: int  # frames whose clock could be read
    skipped: int  # frames of the source between two recorded ones that are not there
    backwards: int  # clocks that went back other than at the loop's end
    video_seconds: float
    audio_seconds: float


def read(file: Path) -> Recorded:
    """:raises av.FFmpegError: not a playable file"""
    video_seconds, numbers = _pictures(file)
    return Recorded(
        frames=len(numbers),
        readable=sum(number is not None for number in numbers),
        skipped=sum(skips(numbers)),
        backwards=sum(step < 0 for step in _steps(numbers)),
        video_seconds=video_seconds,
        audio_seconds=_sound(file),
    )


def _pictures(file: Path) -> tuple[float, list[int | None]]:
    numbers: list[int | None] = []
    first = last = None
    with av.open(str(file)) as container:
        for frame in container.decode(container.streams.video[0]):
            numbers.append(clock.read_frame(frame))
            if frame.time is not None:
                first = frame.time if first is None else first
                last = frame.time
    if first is None or last is None:
        return 0.0, numbers
    mean = (last - first) / max(1, len(numbers) - 1)
    return last - first + mean, numbers


def _sound(file: Path) -> float:
    with av.open(str(file)) as container:
        if not container.streams.audio:
            return 0.0
        return sum(_seconds(frame) for frame in container.decode(container.streams.audio[0]))


def _seconds(frame: Any) -> float:
    return float(frame.samples / frame.sample_rate)


def _steps(numbers: list[int | None]) -> list[int]:
    """Differences between successive clocks; the jump back at the end of the clip's loop is a step of one."""
    known = [number for number in numbers if number is not None]
    loop = max(known, default=0)
    steps = []
    for before, after in pairwise(known):
        step = after - before
        steps.append(step + loop + 1 if step < 0 and before > loop - LOOP_EDGE and after < LOOP_EDGE else step)
    return steps


def skips(numbers: list[int | None]) -> list[int]:
    return [step - 1 for step in _steps(numbers) if step > 1]
