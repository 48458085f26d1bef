"""What one relay holds at most, with the reason for each number. Times are seconds."""

from typing import Final

LESSONS: Final = 500
"""A county has some hundred lessons in an hour; each idle one costs a few kilobytes."""

CONNECTIONS_PER_LESSON: Final = 2000
"""Thousands of classrooms are the goal of several relays; one keeps its burst of a keyframe under half a second."""

CONNECTIONS: Final = 5000
"""At 150 KB each, 750 MB: what a small server has to give."""

PENDING: Final = 1000
"""Connections whose handshake is not done. A handshake costs 0.3 ms and lasts as long as the round trip: a whole county
at the bell stays under this; offers that never come to anything do not fill the relay."""

TRACKS_PER_LESSON: Final = 64
"""Of a recording. A track is new for each publication, kind and codec; a lesson has a handful."""

EVENTS: Final = 8192
"""Events that wait for one reader. 2000 connections report twice a second: two seconds of a stalled reader. Dropped
first: the oldest ``Line``; then repeated reports (``PublicationLive``, ``RecorderState``); then the oldest."""

READERS: Final = 32
"""Readers of events: signaling processes; one in the small case."""

TAP_QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Packets that wait for a recorder, and as much again of what went lately (below): 30 s of eight lessons of 2 Mbit/s,
10 s of twenty-five. Dropped: oldest whole batches, counted and told to the recorder."""

TAP_QUEUE_AGE: Final = 30.0
"""A recorder that died is back within two seconds; one that dies again and again, on a busy machine, within fifteen.
What is older is a gap that it lists. What went is kept for as long and sent again: a recorder that died had the last
second in memory only."""

TAP_BATCH_AGE: Final = 0.02
TAP_BATCH_BYTES: Final = 64 * 1024
"""A batch of packets goes at whichever comes first: little lag, and no frame for each packet."""

TAP_HANDSHAKE: Final = 5.0
TAP_SILENCE: Final = 10.0
"""A recorder says ``stats`` once a second; one that says nothing for this long hangs, and we connect again."""

TAP_FAREWELL: Final = 1.0
"""For what still waits when the relay stops."""

TAP_BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Between attempts to reach a recorder; the last for all further ones."""

TAP_ENDING: Final = 500
"""Ended lessons that wait for ``done``; the oldest is forgotten (the recorder recovers it by itself)."""

ADDRESSES: Final = 16
"""Candidates in an answer. Browsers check each of them from each of theirs, every 50 ms one pair (RFC 8445, 14.2)."""
