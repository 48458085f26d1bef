"""Bounds of the process around the relay, each with its reason. Times are seconds."""

from __future__ import annotations

RESTART_FIRST = 0.2
"""Before a child's first restart: a recorder that crashed once is back before its tap's queue is full."""

RESTART_MOST = 5.0
"""Back-off ends here: a disk that comes back is noticed within this time, and a crash loop costs next to nothing."""

RESTART_SETTLED = 30.0
"""A child that lived this long is healthy again: its next crash starts with the first, short pause."""

STOP_GRACE = 20.0
"""What a child gets between SIGTERM and SIGKILL: the recorder writes its last fragment and its manifest in it."""

STOP_ALL = 30.0
"""The whole graceful stop; systemd's TimeoutStopSec and compose's stop_grace_period stand a little above it."""

HTTP_SHUTDOWN = 3.0
"""How long open requests (a long download, a WebSocket that will not close) may delay the stop."""

LAG_INTERVAL = 0.1
"""Between two samples of the event loop's lag: ten a second cost nothing and see every stall above a tenth."""

TLS_DAYS = 397
"""Life of the self-signed certificate: the longest that browsers accept from anybody."""

TLS_RENEW_DAYS = 30
"""It is made anew when less is left, so that a server restarted once a month never meets the end."""

TLS_CHECK = 3600.0
"""Between two looks at the certificate: a renewed file or a new address is served within the hour."""

BODY_MAX = 256 * 1024
"""Largest HTTP body the process takes at all; routes set less (an SDP offer 64 KiB)."""

RECORDER_PATIENCE = 5.0
"""How long a start waits for the recorder to listen. Its imports take half a second; recovery runs after it listens."""

HEAP_GENERATIONS = (5_000, 20, 10)
"""New container objects before the youngest are searched for garbage (0.1 ms), searches before the middle (2 ms), and
before all that came since the start: once per million of net growth, some thousand joins."""
