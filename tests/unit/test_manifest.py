"""The manifest reads back what was written, survives a torn end, and decides what of the files is kept."""

from __future__ import annotations

import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recorder import manifest
from recorder.manifest import (
    EndLine,
    FinishedLine,
    FragmentLine,
    GapLine,
    Line,
    Manifest,
    Part,
    RecordingLine,
    SegmentLine,
    TrackLayout,
    TrackRange,
)
from recorder.repair import Plan, survey

HEADER, PIECE = b"h" * 100, b"p" * 1000


def lines(segments: int = 2, pieces: int = 3) -> list[Line]:
    out: list[Line] = [RecordingLine(1, "ab12", "lesson", "第一课：光合作用", 1_700_000_000_000_000_000)]
    for n in range(1, segments + 1):
        layout = (TrackLayout("camera/audio", "opus", channels=2, extra=b"OpusHead\x00"),)
        out.append(SegmentLine(f"{n:06d}.mp4", "mp4", layout, len(HEADER), zlib.crc32(HEADER)))
        for k in range(pieces):
            start = ((n - 1) * pieces + k) * 400
            offset = len(HEADER) + k * len(PIECE)
            track = TrackRange("camera/audio", start, start + 400, 20, (2**32 - 1, 5), (9, 29))
            crc = zlib.crc32(PIECE)
            out.append(
                FragmentLine(
                    f"{n:06d}.mp4", offset, len(PIECE), crc, start, start + 400, (start, start + 400), (track,)
                )
            )
    out.append(GapLine("camera/audio", 400, 800, "loss"))
    return out


def encoded(all_lines: list[Line]) -> bytes:
    return b"".join(manifest.encode(line) for line in all_lines)


def parsed(data: bytes) -> Manifest:
    known = manifest.parse(data)
    assert known is not None
    return known


def test_round_trip() -> None:
    part = Part("lesson.mp4", "video/mp4", 9, "0" * 64, 1, 2, 3, 4, "poster.jpg", (GapLine("a", 1, 2, "loss"),))
    written = [*lines(), EndLine(2400, 5), FinishedLine((part,))]
    known = parsed(encoded(written))
    assert known.lines == written
    assert known.state == "finished"
    assert (known.end, known.track_ends()) == (2400, {"camera/audio": 2400})
    assert known.segments[0].line.layout[0].format.extra == b"OpusHead\x00"


def test_each_line_is_json_of_its_own() -> None:
    for line in encoded(lines()).splitlines():
        assert msgspec.json.decode(line)["type"] in ("recording", "segment", "fragment", "gap")


@given(st.integers(min_value=0), st.binary(max_size=40))
def test_cut_anywhere_it_keeps_what_is_whole(at: int, torn: bytes) -> None:
    data = encoded(lines())
    at %= len(data) + 1
    known = manifest.parse(data[:at] + torn.replace(b"\n", b""))
    whole = data[:at].count(b"\n")
    if whole == 0:
        assert known is None
        return
    assert known is not None
    assert known.lines == lines()[:whole]
    assert data[: known.length] == encoded(known.lines)


def test_zeros_that_a_power_cut_left_are_a_torn_end() -> None:
    data = encoded(lines())
    assert parsed(data + bytes(4096)).length == len(data)


def test_an_unreadable_line_in_between_costs_only_itself() -> None:
    rows = encoded(lines()).splitlines(keepends=True)
    rows[3] = b"\x00" * 50 + b"\n"
    known = parsed(b"".join(rows))
    assert known.skipped == 1
    assert known.lines == [line for index, line in enumerate(lines()) if index != 3]


def test_not_a_manifest() -> None:
    assert manifest.parse(b"") is None
    assert manifest.parse(b"{}\n") is None
    assert manifest.parse(manifest.encode(EndLine(1, 2))) is None


# --- what the files say against it ------------------------------------------------------------------------------


def judge(files: dict[str, bytes], known: list[Line] | None = None) -> Plan:
    return survey(
        parsed(encoded(known or lines())),
        {name: len(data) for name, data in files.items()},
        lambda name, offset, length: zlib.crc32(files[name][offset : offset + length]),
    )


WHOLE = HEADER + PIECE * 3


def test_whole_files_need_nothing() -> None:
    plan = judge({"000001.mp4": WHOLE, "000002.mp4": WHOLE})
    assert (plan.lines, plan.cut, plan.rename, plan.remove, plan.damaged) == (lines(), {}, [], [], 0)


def test_a_part_is_renamed_and_what_is_not_listed_is_cut() -> None:
    plan = judge({"000001.mp4": WHOLE, "000002.mp4.part": WHOLE + b"torn"})
    assert plan.cut == {"000002.mp4.part": len(WHOLE)}
    assert plan.rename == ["000002.mp4.part"]
    assert plan.lines == lines()


def test_a_listed_fragment_that_never_reached_the_disk_is_dropped() -> None:
    torn = HEADER + PIECE * 2 + bytes(len(PIECE))
    plan = judge({"000001.mp4": WHOLE, "000002.mp4.part": torn})
    assert plan.damaged == 1
    assert plan.cut == {"000002.mp4.part": len(HEADER + PIECE * 2)}
    assert [line for line in plan.lines if isinstance(line, FragmentLine)] == [
        line for line in lines() if isinstance(line, FragmentLine)
    ][:5]


def test_damage_in_the_middle_becomes_a_gap() -> None:
    plan = judge({"000001.mp4": HEADER + PIECE * 2, "000002.mp4": WHOLE})
    assert GapLine("camera/audio", 800, 1200, "damaged") in plan.lines


def test_a_file_without_its_header_is_of_no_use() -> None:
    plan = judge({"000001.mp4": WHOLE, "000002.mp4.part": bytes(len(HEADER)) + PIECE * 3})
    assert plan.remove == ["000002.mp4.part"]
    assert parsed(encoded(plan.lines)).end == 1200


def test_files_that_nobody_listed_are_removed() -> None:
    plan = judge({"000001.mp4": WHOLE, "000002.mp4": WHOLE, "000003.mp4.part": b"x"})
    assert plan.remove == ["000003.mp4.part"]


def test_nothing_at_all_is_empty() -> None:
    assert judge({}).empty
    assert judge({}, lines()[:1]).empty
