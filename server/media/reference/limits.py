"""All bounds of the Python plane, each with its unit and its reason."""

from __future__ import annotations

from typing import Final

# --- transport: sockets, ICE, DTLS, SRTP ---------------------------------------------------------------------------

REPLAY_WINDOW: Final = 1024
"""Packets of SRTP replay list: late retransmissions at 30 Mbit/s still fit a second of round trip (RFC 3711, 3.3.2)."""

INBOUND_SSRCS: Final = 64
"""SSRCs that one peer's key may open: 4 publications of 3 layers with RTX each, doubled for a restart of all."""

DATAGRAM: Final = 1500
"""Octets of one received datagram; an Ethernet cannot carry more, and what is longer is dropped."""

READ_BATCH: Final = 8
"""Datagrams per recvmmsg(2): a 720p frame. More saves 0.1 µs a datagram, and once read they must all be fanned out
before anything else has its turn: eight to 400 seats are 3200 sends, 8 ms."""

READ_TURN_NS: Final = 3_000_000
"""Reading goes on for so long before the loop gets its turn: some 1500 datagrams of strangers, ten of a publisher who
is watched by a hundred."""

SOCKET_BUFFER: Final = 8 << 20
"""Octets of SO_RCVBUF and SO_SNDBUF: a second of 30 Mbit/s while the loop is held up, kernel overhead included."""

TICK_MS: Final = 10
"""Milliseconds between two ticks while a transport lives: half of an audio packet."""

PATHS: Final = 8
"""Validated 5-tuples per peer: two families on three interfaces and what a NAT adds; the longest silent goes first."""

PATH_SILENT_NS: Final = 3_000_000_000
"""A nominated path silent for so long gives way to one that is checked now: clients check each 2.5 s at least."""

CONSENT_NS: Final = 30_000_000_000
"""Silence after which a peer is gone (RFC 7675, 5.1)."""

HANDSHAKE_NS: Final = 15_000_000_000
"""From OpenTransport to keys: four DTLS flights on a satellite line, each lost twice (1 s, 2 s), fit."""

SWEEP_NS: Final = 250_000_000
"""How often silent peers are looked for; far below every limit that is checked."""

DTLS_MTU: Final = 1200
"""Octets of a DTLS datagram: passes every tunnel met in the field, and what browsers use."""

DTLS_RESEND_NS: Final = 250_000_000
"""A flight unanswered for so long is sent again once before OpenSSL's own timer (1 s, 2 s, ...): a lost packet should
not cost a classroom a second. RFC 6347, 4.2.4.1 allows it; browsers start at 50 ms."""

DTLS_OTHER_HELLO_NS: Final = 1_000_000_000
"""A repeated ClientHello with another random replaces a handshake that has stood still for so long, never sooner."""

# --- forwarding: streams, sinks, taps, egress ------------------------------------------------------------------------

SLOT: Final = 1536
"""Octets of a slot of the ring out: what an Ethernet carries (1500), rounded up so that slots start on cache lines."""

RING_SLOTS: Final = 64
"""Datagrams of one sendmmsg(2): 96 KiB are copied, sealed and sent before the caches lose them; longer batches measured
no better."""

SHAPES: Final = 256
"""Different looks of outgoing packets that are remembered: one for each kind of browser, codec and MID. When there are
more they are forgotten together, and sinks added before and after are no longer sent to in one step."""

LANES: Final = RING_SLOTS
"""Sinks of one fan-out step."""

RING_WAITING_VIDEO: Final = 768
RING_WAITING: Final = 1024
"""Datagrams kept when the socket takes no more (1.2 MB, 4 ms of a gigabit): beyond, video is dropped, audio last."""

HISTORY_PACKETS: Final = 2000
"""Packets kept per video stream: ten seconds of 2.4 Mbit/s in 1200-octet packets, and a second of round trips."""

HISTORY_OCTETS: Final = 2 << 20
"""Payload octets kept per video stream: 12 s of 1.4 Mbit/s; four layers of a teacher are 8 MiB at most."""

HISTORY_NS: Final = 12_000_000_000
"""Age of what is kept: the keyframe cadence of 10 s, and time for the new keyframe to come."""

HISTORY_AUDIO_PACKETS: Final = 256
"""Packets kept per audio stream: 5 s of 20 ms frames, far more than any retransmission looks back."""

CADENCE_NS: Final = 10_000_000_000
"""Age of the cached group at which a followed stream is asked for a keyframe: what a joiner must catch up with."""

CADENCE_OCTETS: Final = HISTORY_OCTETS * 3 // 4
CADENCE_PACKETS: Final = HISTORY_PACKETS * 3 // 4
"""Size of the cached group at which the same is done, before the bounds would cut its keyframe off."""

SEQUENCE_DROPOUT: Final = 3000
SEQUENCE_MISORDER: Final = 1000
"""Jumps ahead and back within which a packet belongs to the same run (RFC 3550, A.1); 1000 is also libsrtp's window."""

SKIPPED: Final = 128
"""Padding-only packets remembered one by one, for numbering late packets; publishers probe with a dozen at a time."""

SOURCE_SSRCS: Final = 32
"""SSRCs that one source may use in its life: four layers with RTX, and three restarts of each."""

NACK_REORDER_NS: Final = 10_000_000
"""Wait before a hole is asked for: what school lines reorder comes within it."""

NACK_TRIES: Final = 8
NACK_TRIES_AUDIO: Final = 3
"""Requests for one packet; voice that is later than three round trips has been concealed."""

NACK_AGE_NS: Final = 1_500_000_000
"""Age at which a hole is given up: beyond every player's buffer, and what the recorder waits for."""

NACK_GAP: Final = 256
"""Missing packets in a row worth asking for: a second of video; after more only a keyframe helps."""

NACK_PENDING: Final = 512
"""Holes per stream."""

NACK_ASKED: Final = 200
"""Numbers in one NACK: scattered they take 800 octets, so that it fits a datagram with others."""

FEEDBACK_OCTETS: Final = 1100
"""Of one feedback datagram to a publisher, its RR and SRTCP trailer apart; more goes into the next."""

NACK_PER_SINK: Final = 512
"""Sequence numbers read from a subscriber's NACKs per tick: twice what a browser keeps on its list at a time."""

RTX_SHARE: Final = 0.15
"""Retransmitted octets per media octet sent to a sink: a line that loses more needs a lower layer, not more load."""

RTX_FLOOR: Final = 8_000
"""Octets that may be saved up on the thinnest stream, so that it can recover at all. Else what the last one to two
seconds have earned: one burst of loss."""

RTX_REMEMBERED: Final = 256
"""Retransmissions per sink remembered for the once-per-round-trip rule."""

KEYFRAME_INTERVAL_NS: Final = 500_000_000
"""Between two requests to one stream: an encoder needs about as long to send one."""

KEYFRAME_EAGER_TRIES: Final = 6
KEYFRAME_SLOWEST_NS: Final = 8_000_000_000
"""After six unanswered requests the interval doubles up to this: encoders with a fixed group never answer."""

KEYFRAME_GRACE_NS: Final = 1_000_000_000
"""A sink that was just given a keyframe (by a joiner's burst) is not heard when it asks for another."""

BLACK_NS: Final = 4_000_000_000
"""Silence of a video subscriber's reports after which the next one tells of an outage, and nothing of how much the line
carries: browsers report each second."""

BURST_SLICE: Final = 128
"""Packets that all joiners together get per slice: a millisecond, then live media has its turn again."""

BURST_TURN: Final = 8
"""Packets that one joiner gets before the next: about a frame."""

BURST_RATE: Final = 2000
"""Packets per second of one joiner's backlog (20 Mbit/s): the longest is sent in a second, and no school's router
has to swallow it at once."""

BURST_SAVED: Final = 48
"""Packets of that rate that may be saved up: the keyframe leaves in one go."""

SQUEEZE: Final = 32
"""A joiner's backlog is stamped that much faster than it was filmed, so that a player runs through it at once and ends
at the live picture, instead of staying as many seconds behind as the group was old."""

TAP_ITEMS: Final = 16_384
"""Packets for taps that wait for the end of a batch (20 MB): what is read meanwhile, and the whole cache for each of
eight taps that begin at once. Beyond, the newest are dropped, and stay visible as holes in the numbers."""

SPANS: Final = 4
"""Switches that a sink remembers for retransmissions: at one change in some seconds, more than the history reaches."""

SILENT_NS: Final = 2_000_000_000
"""Without a packet for so long a layer has stopped (contract of ``SourceLayers`` and ``SourceSilent``)."""

SECOND_NS: Final = 1_000_000_000
"""Interval of reports and events that come once a second."""

TICK_NS: Final = 10_000_000
"""Timers of the router are looked at this often, however often ``tick`` is called."""

LIFE_NS: Final = 200_000_000
"""How often layers are checked for life; a tenth of ``SILENT_NS``."""

REMB_CAP: Final = 8_000_000
REMB_FLOOR: Final = 250_000
"""What publishers are told that we can take, bit/s: more than any lesson needs; on loss less, never below a voice and
a thumbnail."""
