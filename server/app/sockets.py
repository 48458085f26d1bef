"""Listening sockets of the HTTP side, taken before anything else is started: a port in use stops the start early."""

from __future__ import annotations

import socket

from server.app.values import HostPort

BACKLOG = 1024
"""A whole county's classrooms connect at the bell, within the time of one event-loop turn or two."""


def listen(address: HostPort) -> list[socket.socket]:
    """One socket per address of the host; ``*`` is one socket for both families where the machine has IPv6.

    :raises OSError: the address cannot be had
    """
    if address.host == "*":
        if socket.has_dualstack_ipv6():
            return [
                socket.create_server(("", address.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
            ]
        return [socket.create_server(("", address.port), backlog=BACKLOG)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            sockets.append(socket.create_server((where[0], port), family=family, backlog=BACKLOG))
            port = sockets[0].getsockname()[1]  # port 0: the first decides for all
    except OSError:
        for made in sockets:
            made.close()
        raise
    return sockets
