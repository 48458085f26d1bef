"""A lesson in the library waits for the rest of it only as long as a rest is coming."""

from __future__ import annotations

import os
import time
from pathlib import Path

from recorder import manifest
from recorder.library.awaited import FRESH, awaited


def recording(archive: Path, name: str, lesson: str) -> Path:
    folder = archive / name
    folder.mkdir(parents=True)
    path = folder / manifest.NAME
    path.write_bytes(manifest.encode(manifest.RecordingLine(1, name, lesson, "课", 0)) + b'{"type":"torn')
    return path


def test_a_living_recording_that_is_not_listed_is_awaited(tmp_path: Path) -> None:
    recording(tmp_path, "first", "lesson")
    recording(tmp_path, "second", "lesson")
    assert awaited(tmp_path, "lesson", {"first"})
    assert not awaited(tmp_path, "lesson", {"first", "second"})


def test_other_lessons_junk_and_a_missing_archive_are_not(tmp_path: Path) -> None:
    assert not awaited(tmp_path / "nowhere", "lesson", set())
    recording(tmp_path, "other", "another lesson")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / manifest.NAME).write_bytes(b"\xff\n")
    assert not awaited(tmp_path, "lesson", set())


def test_one_that_cannot_be_finished_is_not_awaited_for_ever(tmp_path: Path) -> None:
    path = recording(tmp_path, "first", "lesson")
    long_ago = time.time() - FRESH - 1
    os.utime(path, (long_ago, long_ago))
    assert not awaited(tmp_path, "lesson", set())
