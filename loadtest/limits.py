"""Every bound of the load generator, with its unit and its reason."""

from __future__ import annotations

# --- one client ---------------------------------------------------------------------------------------------------

MTU = 1200
"""Bytes of a datagram that we build: what every path carries (QUIC and libwebrtc settled on the same figure)."""

MAX_RTP_PAYLOAD = 1120
"""Bytes; leaves the RTP header, five header extensions and the SRTP tag room inside ``MTU``."""

MAX_SDP = 64 * 1024
"""Bytes of an answer that we read; a larger one is refused as no answer."""

MAX_CANDIDATES = 16
"""Remote candidates checked per connection, highest priority first; the rest is ignored."""

MAX_SECTIONS = 32
"""m-lines read of an answer; we offer two."""

MAX_STREAMS = 64
"""SSRCs counted per watcher. Packets of further ones count as ``stray``: a server has no reason to send so many."""

SOCKET_BUFFER = 1 << 20
"""Bytes asked of the kernel per socket: one 80-packet keyframe burst and the pause of a busy generator."""

HISTORY = 1024
"""Sent packets per stream kept for NACK: 4 s at 240 packets/s. Oldest are overwritten; misses are counted."""

MAX_MISSING = 512
"""Sequence numbers a watcher tracks as missing per stream. A larger hole counts as lost at once, without NACK."""

NACK_TRIES = 5
"""Requests per missing packet, one each 60 ms; then it counts as lost."""

MAX_FRAME_PACKETS = 2048
"""Packets held while a frame is put together (2.3 MB); a larger frame is dropped and counted."""

DECODE_QUEUE = 32
"""Frames waiting for the decoder thread (2 s at 15 frames/s). The newest is dropped and counted; a keyframe heals."""

# --- time ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT = 20.0
"""Seconds from the POST to DTLS done."""

HTTP_TIMEOUT = 15.0
"""Seconds for one HTTP exchange."""

CONSENT_INTERVAL = 5.0
CONSENT_TIMEOUT = 30.0
"""Seconds (RFC 7675, 5.1)."""

LATE_PUBLISHER_NS = 500_000_000
"""How far a publisher may fall behind its own schedule before it skips ahead, as an encoder would drop frames."""

# --- the run ------------------------------------------------------------------------------------------------------

MAX_CLASSROOMS = 20_000
"""Per run: above that one machine's UDP ports and memory end."""

MAX_OPENING = 256
"""Connections one generator process opens at the same time: a county at the bell. The wait of further ones counts as
slip of the ramp, not into their join time."""

MAX_POINTS = 3600
"""Points of a series. A longer run halves its resolution instead of growing."""

MAX_ERRORS = 20
"""Different error texts kept in a report, with their counts; further ones count as ``other``."""

MAX_WORKERS = 64
"""Generator processes."""

WORKER_LINE = 4 << 20
"""Bytes of one line from a worker; a tick with all histograms stays below 200 KB."""
