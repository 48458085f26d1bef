"""From a clear packet of a publisher to sealed packets for everybody who follows it. All of it sans-IO.

The way of a packet::

    ingress → source → streams (numbering, history) → layers (audience) → sender → egress → the ring of ``transport``

Beside it: ``wiring`` carries out commands, ``feedback`` reads RTCP, ``upkeep`` does what is due (``nack``,
``keyframes``, ``reports``), ``bursts`` serves late joiners. ``rtp``, ``rtcp``, ``h264`` and ``vp8`` know the wire.
"""
