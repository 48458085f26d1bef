"""Makes the sample lesson in ``loadtest/sample``: speech by espeak-ng, pictures by Pillow, encoding by ffmpeg.

Run once, the result is committed: ``python -m loadtest.make_sample``. It needs Debian's ``espeak-ng``, ``ffmpeg`` and
``fonts-noto-cjk`` and gives the same bytes for the same versions of them. Text, drawings and speech are our own.
"""

from __future__ import annotations

import array
import math
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from loadtest.sample_slides import FRAMES_PER_SECOND, HEIGHT, SLIDES, WIDTH, picture

OUT = Path(__file__).parent / "sample"
# The voice that reads pinyin: Debian's espeak-ng has no Mandarin readings for most Chinese characters.
ESPEAK = ("espeak-ng", "-v", "cmn-latn-pinyin", "-s", "145", "-p", "45", "-g", "2")
RATE = 22_050  # Hz, what espeak-ng speaks
LEAD, TAIL = 0.5, 0.7  # seconds of silence around each slide's speech
GOP = 2 * FRAMES_PER_SECOND

_X264 = (
    "-c:v libx264 -profile:v baseline -preset veryslow -tune animation -pix_fmt yuv420p -bf 0 -threads 2 "
    f"-g {GOP} -keyint_min {GOP} -sc_threshold 0 -map_metadata -1 -fflags +bitexact -flags:v +bitexact "
    "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv "
    "-bsf:v filter_units=remove_types=6"  # x264 signs its name in an SEI of 700 bytes
).split()
_VP8 = (
    f"-c:v libvpx -pix_fmt yuv420p -threads 2 -g {GOP} -keyint_min {GOP} -deadline best -auto-alt-ref 0 "
    "-lag-in-frames 0 -map_metadata -1 -fflags +bitexact -flags:v +bitexact"
).split()
_VOIP = ("-application", "voip", "-frame_duration", "20", "-fec", "1", "-packet_loss", "5")
_OPUS = ("-c:a", "libopus", *_VOIP, "-ac", "1", "-ar", "48000", "-b:a", "28k")
_VOICE = (
    "highpass=f=90,lowpass=f=7500,acompressor=threshold=-22dB:ratio=3:attack=8:release=120,loudnorm=I=-18:TP=-2:LRA=7"
)


def speak(text: str, folder: Path) -> array.array[int]:
    """Samples (16 bit, mono, ``RATE``) of ``text``, silence trimmed at both ends."""
    path = folder / "speech.wav"
    subprocess.run([*ESPEAK, "-w", str(path), text], check=True)
    with wave.open(str(path)) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
    loud = [index for index, value in enumerate(samples) if abs(value) > 200]
    return samples[loud[0] : loud[-1] + 1]


def lay_out(folder: Path) -> tuple[list[float], array.array[int]]:
    """Start of each slide in seconds with the end of the last one, and the whole sound. The end is a whole second."""
    starts, sound = [0.0], array.array("h")
    for slide in SLIDES:
        sound.extend([0] * round(LEAD * RATE))
        sound.extend(speak(slide.speech, folder))
        sound.extend([0] * round(TAIL * RATE))
        starts.append(len(sound) / RATE)
    end = math.ceil(starts[-1] + 1.0)
    sound.extend([0] * (end * RATE - len(sound)))
    starts[-1] = float(end)
    return starts, sound


def levels(sound: array.array[int], frames: int) -> list[float]:
    """Loudness (0..1) of the sound in each frame, for the meter in the footer."""
    size = RATE // FRAMES_PER_SECOND
    parts = [sound[frame * size : (frame + 1) * size] for frame in range(frames)]
    return [min(1.0, math.sqrt(sum(v * v for v in part) / max(1, len(part))) / 6000) for part in parts]


def encoder(sound: Path, out: Path) -> list[str]:
    """The one ffmpeg call that takes raw pictures on its standard input and writes every version."""
    hd, sd = "out_color_matrix=bt709:out_range=tv", "out_color_matrix=bt601:out_range=tv"  # VP8 knows only BT.601
    split = f"[0:v]split=4[h0][m0][l0][v0];[h0]scale={hd}[h];[m0]scale=640:360:flags=area:{hd}[m];"
    split += f"[l0]scale=320:180:flags=area:{hd}[l];[v0]scale=640:360:flags=area:{sd}[v];[1:a]{_VOICE}[a]"
    return [
        *f"ffmpeg -v error -y -f rawvideo -pix_fmt rgb24 -s {WIDTH}x{HEIGHT} -r {FRAMES_PER_SECOND} -i -".split(),
        *("-i", str(sound), "-filter_complex", split),
        *("-map", "[h]", "-map", "[a]", *_X264, "-level", "3.1", "-crf", "25", *_OPUS, str(out / "sample.mp4")),
        *("-map", "[m]", *_X264, "-level", "3.0", "-crf", "27", str(out / "sample-m.mp4")),
        *("-map", "[l]", *_X264, "-level", "2.0", "-crf", "27", str(out / "sample-l.mp4")),
        *("-map", "[v]", *_VP8, "-crf", "16", "-b:v", "160k", str(out / "sample-vp8.webm")),
    ]


def make() -> None:
    """Write every version of the sample."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts, sound = lay_out(folder)
        path, made = folder / "sound.wav", folder / "made"
        made.mkdir()
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            file.writeframes(sound.tobytes())
        frames = int(starts[-1]) * FRAMES_PER_SECOND
        with subprocess.Popen(encoder(path, made), stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for number, level in enumerate(levels(sound, frames)):
                now = number / FRAMES_PER_SECOND
                slide = max(index for index, start in enumerate(starts[:-1]) if start <= now)
                t = (now - starts[slide]) / (starts[slide + 1] - starts[slide])
                process.stdin.write(picture(slide, t, number, level).tobytes())
            process.stdin.close()
            if process.wait():
                raise SystemExit(f"ffmpeg failed with {process.returncode}")
        for file_path in made.iterdir():  # only now: a half-written sample must never be seen
            shutil.move(file_path, OUT / file_path.name)
    for file_path in sorted(OUT.iterdir()):
        sys.stdout.write(f"{file_path.name} {file_path.stat().st_size} bytes\n")


if __name__ == "__main__":
    make()
