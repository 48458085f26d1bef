"""Bounds on what a stranger's SDP may make us hold or walk through, each with its reason."""

from typing import Final

MAX_BYTES: Final = 64 * 1024
"""Of a description. Chromium's richest watch offer has 7 KB; the HTTP shell refuses more than this with 413."""

MAX_LINES: Final = 4000
"""Of a description. 64 KiB of the shortest line (``a=x``) would be 16,000."""

MAX_SECTIONS: Final = 16
"""m-lines. A publisher has two, a browser that adds data and screen four; each one costs an answer section."""

MAX_FORMATS: Final = 128
"""Formats of one m-line: RTP has 128 payload types."""

MAX_RIDS: Final = 3
"""Simulcast layers of a track: Chromium sends at most three, and the quality room chooses among low, middle, high."""

MAX_FRAGMENT_BYTES: Final = 16 * 1024
"""Of a trickle fragment: some forty candidates."""

MAX_CANDIDATES: Final = 64
"""Of ours in an answer and of theirs in a fragment: more than any host has addresses worth trying."""
