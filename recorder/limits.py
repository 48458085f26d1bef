"""Every bound of the recorder, with its unit and its reason. What is dropped at a bound is counted in ``stats()``."""

from __future__ import annotations

MS = 1_000_000
"""Nanoseconds in a millisecond: all times inside the recorder are integers of nanoseconds."""
S = 1_000_000_000
"""Nanoseconds in a second."""

# --- time: what a crash may cost ----------------------------------------------------------------------------------
# The promise is 1 s for kill -9: REORDER_HOLD + FRAGMENT_AGE + POLL + the write itself must stay below it.

REORDER_HOLD = 400 * MS
"""A hole in the sequence numbers waits this long for its retransmission: two round trips of the worst talkable line."""
FRAGMENT_AGE = 400 * MS
"""A fragment is cut when its oldest sample has waited this long."""
FRAGMENT_SPAN = 1 * S
"""No fragment covers more media time than this (long silences are split)."""
POLL = 50 * MS
"""How often reorder deadlines and fragment ages are looked at."""

SEGMENT_SPAN = 60 * S
"""A segment is full after this; a natural keyframe shortly before is used rather than asking for one."""
SEGMENT_EARLY = 55 * S
KEYFRAME_RETRY = 1 * S
"""A keyframe that is needed is asked for this often; the relay coalesces with all other reasons."""

SILENT = 1_500 * MS
"""No packet for this long is a gap, not discontinuous transmission (Opus DTX sends at least each 400 ms)."""
FILL_BEHIND = 3 * S
"""Audio that is silent while other tracks go on is filled up to this much behind them; later packets come too late."""
TRAILING = 30 * S
"""Silence between the last media and the end of the lesson is kept (and listed) up to this; more is cut off."""

# --- queues -------------------------------------------------------------------------------------------------------

REORDER_PACKETS = 2_048
"""Packets held behind a hole, per track: 400 ms at 40 Mbit/s. Full: the hole is declared lost at once."""
REORDER_JUMP = 3_000
"""Sequence numbers farther away than this are another stream, not a reordering (RFC 3550, A.1: MAX_DROPOUT)."""
ACCESS_UNIT_BYTES = 4 * 1024 * 1024
"""One frame; larger is dropped as lost. A 1080p keyframe has 0.3 MiB."""
QUEUE_FRAGMENTS = 64
"""Fragments between loop and writer, per lesson: more than 20 s of a stalled disk. Full: a listed gap ``overload``."""
QUEUE_BYTES = 32 * 1024 * 1024
"""Bytes in the same queue: 64 lessons with stalled disks stay below 2 GiB."""
TAP_BACKLOG = 8 * 1024 * 1024
"""Bytes that may wait in a tap's send buffer before state and stats are skipped (a relay that does not read)."""

# --- numbers ------------------------------------------------------------------------------------------------------

TAPS = 64
LESSONS = 256
"""Live recordings of one recorder: 256 × (one thread, two descriptors)."""
TRACKS = 8
"""Tracks recorded of one lesson; more are counted and not recorded."""
NAME_CHARS = 64
"""Publication names: they are ours, but come over a wire."""
TITLE_CHARS = 300
GAPS_LISTED = 500
"""Gaps in a library entry (the longest are kept); the manifest keeps them all."""
MERGE_GAPS = 500 * MS
"""In a library entry, gaps of one track closer than this are one."""

# --- patience -----------------------------------------------------------------------------------------------------

DISK_RETRY = 3 * S
"""A full or failing disk is tried again this often."""
GRACE = 60 * S
"""A lesson whose tap is gone may be opened again within this and goes on in the same recording. An encoder whose server
was killed notices by consent after 30 s (RFC 7675, 5.1) and may wait some seconds more before it tries again."""
HELLO = 5.0
"""Seconds for a relay's hello."""
FINISH_STOP = 5.0
"""Seconds that a stopping recorder waits for lessons being finished; what is cut off is finished at the next start."""
