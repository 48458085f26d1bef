"""Coverage-guided fuzzing of every reader of foreign bytes: nothing but the exceptions that each of them names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this Python")

SECONDS = int(os.environ.get("SOAK_SECONDS", "60"))
SCRIPT = Path(__file__).with_name("fuzz_target.py")
# Named here again: importing the script would instrument this process.
TARGETS = (
    "stun",
    "rtp",
    "rtcp",
    "sdp",
    "answer-publisher",
    "answer-watcher",
    "fragment",
    "keyframe",
    "tap",
    "recorded-rtp",
    "manifest",
    "depacketize-vp8",
    "depacketize-h264",
    "depacketize-opus",
)
HANG = 10  # seconds for one input
MEMORY = 1024  # MiB of the whole process


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_raises_only_what_it_names(tmp_path: Path, name: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    options = (f"-max_total_time={SECONDS}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name, str(corpus), *options, f"-artifact_prefix={tmp_path}/"],
        cwd=SCRIPT.parents[2],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 120,
    )
    said = done.stdout + done.stderr
    crashers = [path.read_bytes() for path in sorted(tmp_path.iterdir()) if path.is_file()]
    assert done.returncode == 0 and not crashers, f"{name} fails on {crashers}\n{said[-4000:]}"
    runs = re.search(r"Done (\d+) runs", said)
    assert runs and int(runs[1]) > 0, said[-4000:]
    print(f"{name}: {runs[1]} inputs")


def test_every_target_is_run() -> None:
    listed = re.findall(r'^    "([a-z0-9-]+)": Target\(', SCRIPT.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS)
