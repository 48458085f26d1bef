"""The thresholds of the layer choice, each with its unit and the reason for it. Lines P0..P12 are in the test of it."""

from typing import Final

AUDIO_BPS: Final = 60_000
"""Set aside for the voice before any video is counted: Opus at 32 kbit/s with FEC, RTP, UDP and IP headers."""

FITS: Final = 1.1
"""A layer fits an estimate that is this much above its rate: keyframes and retransmissions need room."""

TOO_MUCH: Final = 0.95
"""A layer no longer fits an estimate below this much of its rate. Under FITS, so that noise between them moves nothing.
"""

PROBE_HEADROOM: Final = 1.3
"""Of what was sent. A browser's estimate is bounded by about 1.5 × what it receives (draft-ietf-rmcat-gcc, 5.5), so one
that nears this bound says no more than: nothing is in the way. Then going up is the only way to find out."""

CALM_LOSS: Final = 0.06
"""Loss under which we go up. Radio lines (P4, P6, P7) lose 2 to 5 % without being full; NACK and FEC mend that."""

HEAVY_LOSS: Final = 0.10
"""Loss over which a line is taken as full, whatever the estimate says; as in draft-ietf-rmcat-gcc, 6."""

DOWN_AFTER: Final = 0.9
"""Seconds for which the estimate or the loss must be bad: two reports, so that one burst moves nothing."""

RISING: Final = 1.01
"""An estimate that grew by this from one report to the next is still finding out what the line carries (it grows by
some 8 % a second, draft-ietf-rmcat-gcc, 5.5): it lags a step up for seconds, and is no reason to go down."""

UP_AFTER: Final = 2.0
"""Seconds of calm before going up where an estimate backs it."""

UP_AFTER_BLIND: Final = 3.0
"""The same from loss and round trip alone: clients that send no REMB, and browsers in their first seconds: Chromium's
first REMB comes after six, and is what was received until then, whatever the line could carry."""

SETTLE: Final = 2.5
"""Seconds after a change in which reports still tell of the time before it."""

QUIET: Final = 20.0
"""Seconds between a change and the next one upward (P4: at most one change in 20 s)."""

TRIAL: Final = 10.0
"""Seconds in which a step up must prove itself; going down within them counts as a failed step."""

COLLAPSE: Final = 0.2
"""Loss of a single report that ends a trial at once: the voice shares the queue that a too large layer fills."""

BACK_OFF: Final = (30.0, 60.0, 120.0, 240.0)
"""Seconds from a step down to the next step up, by the number of steps up that failed in a row (the first also after a
step down that was no failed trial: the line has just shown its measure)."""

FORGIVEN_AFTER: Final = 120.0
"""Seconds without a failed step after which earlier failures no longer count."""

START_WINDOW: Final = 15.0
"""Seconds from the start in which the first steps up need not wait for QUIET: a good line is soon used."""

VOICE_ONLY_AFTER: Final = 3.0
"""Seconds of heavy loss, with an estimate below the lowest layer, after which only the voice is sent."""

VIDEO_AGAIN: Final = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of voice only before the lowest layer is tried, by the number of times it failed. With no video flowing the
estimate is bounded by the voice's rate and tells nothing: it must be tried."""

BLOAT_MS: Final = 400.0
"""Rise of the round trip over the least one seen that means a queue fills (P6: 1 to 2 s deep) before it overflows."""

HIDDEN_MS: Final = 250.0
"""Round trip within which a retransmission comes before a player misses it: browsers keep about that much when NACKs
are frequent."""

PACKET_BITS: Final = 8 * 1100
LOSS_BURST: Final = 3.0
"""What a layer's packets and a line's losses are taken for: networks lose packets in bursts of some three."""

STALLS: Final = 0.3
"""Share of the time a picture may stand still before a smaller one, of fewer packets, is better to watch: P6 with its
upload full, where every lost packet costs a second."""

STALLS_UP: Final = 0.1
"""The same for going up: P8 (600 ms, 0.5 %) at 1.2 Mbit/s has 0.08."""
