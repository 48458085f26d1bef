"""Every bound of this package, with its unit and its reason. Nothing in signaling grows beyond these numbers."""

from __future__ import annotations

# --- HTTP bodies ----------------------------------------------------------------------------------------------------

SDP_BYTES = 64 * 1024
"""Chromium's largest offers (dozens of m-lines) stay under 30 KiB; RFC 9725 names no bound."""
JSON_BYTES = 16 * 1024
"""A title, a layer: far smaller."""
BODY_SECONDS = 10.0
"""A body of 64 KiB over the thinnest line (P7, 120 kbit/s up) takes under 5 s; slower ones only hold a socket."""
TOKEN_CHARS = 4096
"""Ours have about 300; base64 and HMAC of longer ones would be work for a stranger."""

# --- a lesson -------------------------------------------------------------------------------------------------------

TITLE_CHARS = 200
SEAT_CHARS = 64
SEATS_PER_LESSON = 5000
"""A large county has about 2000 classrooms; seats that left stay listed."""
CONNECTIONS_PER_SEAT = 512
"""A classroom needs about four (camera, screen, board, a reload); a training room or a load test shares one token."""
SOCKETS_PER_SEAT = 64
"""The same, in pages."""
PUBLICATIONS_PER_LESSON = 16
"""Five names, two kinds each, and spare."""
INTERVALS_PER_SEAT = 256
"""A line that drops every 10 s for 45 minutes; beyond it the two intervals with the shortest gap become one."""

# --- the process ----------------------------------------------------------------------------------------------------

CONNECTIONS = 20_000
"""About 2 KB each."""
SOCKETS = 20_000
UNGREETED_SOCKETS = 2000
"""Open without a hello for up to 5 s: a stranger's share of the file descriptors."""
RELAY_SECONDS = 10.0
"""A relay that has not answered by then is ``unavailable``; browsers give up a join at about 15 s."""
ATTENDANCE_GATHERED = 0.5
"""Seconds for which arrivals and departures are gathered to be written together; so much of them a crash may cost."""
PENDING_ATTENDANCE = 20_000
"""Attendance rows waiting for a store that is locked; beyond it the oldest is dropped and counted."""
RETRY_SECONDS = 1.0
"""Until a store that did not take a batch, or a source of events that failed, is tried again."""
PATIENCE_SECONDS = 5.0
"""So long a person waits for a button."""
TICK_SECONDS = (0.05, 1.0)
"""Between two ticks: the core's timers are of seconds; a call sooner than 50 ms would only burn a core."""
RESYNC_SECONDS = 2.0
"""How soon a lesson made or ended by the command line is known here."""
OVERLAP_SECONDS = 15.0
"""Read again at each resync: a writer may have waited for the lock (10 s) since it looked at the clock."""
STRAY_SECONDS = 5.0
"""A relay says that a publication is live once a second; a publisher that missed five is gone."""
JUMP_SECONDS = 1.0
"""From here on a change of the wall clock is a jump, which moves timers; below it nobody notices."""

# --- WebSocket ------------------------------------------------------------------------------------------------------

MESSAGE_BYTES = 16 * 1024
MESSAGES_PER_SECOND = 20.0
MESSAGES_BURST = 40.0
"""Per seat, so that opening more sockets buys nothing."""
SOCKET_QUEUE_MESSAGES = 256
"""Two minutes of a teacher's page; then its reader is gone in all but name."""
SOCKET_QUEUE_BYTES = 4 * 1024 * 1024
"""A welcome with 5000 seats is about 1 MB."""
SEND_SECONDS = 15.0
"""One message not taken by the kernel for so long: the line is dead, the heartbeat would only tell later."""
SEATS_PER_BATCH = 1000
"""Seats in one message; more are sent as several."""
BATCH_SECONDS = 1.0
"""Seats are told at most this often."""
CLOSE_SECONDS = 2.0
"""For the peer's half of the closing handshake."""

# --- figures --------------------------------------------------------------------------------------------------------

SERIES_SECONDS = 5.0
SERIES_POINTS = 720
"""One hour: a lesson with its eve."""
FRESH_SECONDS = 30.0
"""A browser reports each 5 s; older latencies are not of now."""
LESSONS_PER_PAGE = 1000
