"""The way to and from the peers of one UDP port, and nothing about media.

The way of a datagram::

    sockets → peers (demux) → ice | dtls | srtp → the ``Media`` of whoever forwards;   ring → the kernel
"""
