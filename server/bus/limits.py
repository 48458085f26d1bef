"""Bounds of the bus, each with its reason. Times are seconds, sizes bytes."""

from __future__ import annotations

CALL_TIMEOUT = 5.0
"""A caller waits this long in all: a classroom's WHEP request then gets its 503 while the page still waits."""

REDIS_PATIENCE = 1.0
"""Without a reply through Redis within this time, the same call goes over the direct line too (it is executed once)."""

CALLS_KEPT = 1024
"""Replies a relay remembers, so that a call that came both ways is executed once. A bell of 1000 joins fits."""

CALLS_AT_ONCE = 64
"""Calls a relay executes at the same time; more wait. Negotiation is CPU work: more at once is no faster."""

CALLS_WAITING = 2048
"""Calls that may wait at a relay; the next is refused as ``unavailable`` rather than answered after its deadline."""

STREAM_CALLS = 4096
"""Entries of a relay's call stream in Redis (oldest fall away): a stuck relay costs Redis some 20 MB at most."""

STREAM_REPLIES = 4096
"""The same for the replies to one caller."""

STREAM_EVENTS = 1024
"""Entries (batches) of a relay's event stream in Redis: some minutes at one batch per 0.1 s."""

STREAM_LIFE = 120
"""Streams of a process that renews nothing any more disappear from Redis after this time."""

FACTS_KEPT = 8192
"""Events other than ``Line`` that a relay keeps for listeners that come back: two per connection of a full relay."""

LINES_KEPT = 4096
"""``Line`` events kept: two seconds of a full relay. The oldest fall away first, as the port promises."""

READER_EVENTS = 8192
"""Events that wait for one reader; beyond it the oldest ``Line`` goes, then the oldest of all, counted."""

EVENT_BATCH = 256
"""Events in one entry or frame: some 40 KB, far below ``FRAME_MAX``."""

EVENT_PAUSE = 0.05
"""Events are collected this long before they are sent: a bell of joins becomes 20 entries a second, not thousands."""

FRAME_MAX = 1024 * 1024
"""A frame on the direct line: the largest SDP offer (64 KiB) many times over."""

GREETING_MAX = 256
"""A frame before the other side has proved that it knows the secret."""

GREETING_TIMEOUT = 3.0
"""For the whole proof; whoever needs longer is not one of ours."""

CONTROL_CONNECTIONS = 64
"""Direct lines to one relay at a time; signaling nodes are few."""

CONTROL_UNPROVED = 64
"""Connections to the control port that are still proving themselves; each has ``GREETING_TIMEOUT`` for it."""

OUTGOING_MAX = 8 * 1024 * 1024
"""Bytes that may wait to be written to one direct line; a peer that reads no more is cut off."""

REDIS_TIMEOUT = 1.0
"""For one command. A Redis that is slower than this is as good as gone, and the direct line is faster."""

REDIS_BLOCK = 0.5
"""How long one XREAD waits for news: the delay until a newly found relay is listened to."""

REDIS_RETRY = 0.25
"""Between two tries to reach a Redis that is gone."""

RENEWALS = 3
"""Renewals within one lease: two may be lost before it runs out."""

PLACEMENT_LIFE = 60
"""A placement that its relay does not confirm is forgotten after this time."""

RECORDING_LIFE = 6 * 3600
"""How long a lesson keeps its recorder: longer than any lesson."""

LESSONS_REMEMBERED = 4096
"""Placements a signaling process keeps in memory; the longest unused goes first (Redis or its relay still know it)."""
