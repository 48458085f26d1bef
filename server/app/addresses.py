"""By which host other processes of the bureau reach this one: for the control port and the tap."""

from __future__ import annotations

import ipaddress

from server.app.config import Config
from server.app.values import HostPort, host_port
from server.node.addresses import candidate_addresses


def reachable_host(config: Config, bound: HostPort) -> str:
    """``advertise``, else the address a port is bound to, else the first of this machine that is not loopback."""
    if config.advertise:
        return config.advertise
    if not bound.everywhere:
        return bound.host
    others = (a for a in candidate_addresses("") if not ipaddress.ip_address(a).is_loopback)
    return next(others, "127.0.0.1")


def tap_to_advertise(config: Config) -> str:
    """The tap's address for relays: a Unix socket as it is, a TCP port with a host that they can reach."""
    kind, _, rest = config.tap_address.partition(":")
    if kind == "unix":
        return config.tap_address
    bound = host_port(rest)
    return f"tcp:{HostPort(reachable_host(config, bound), bound.port)}"


def tap_to_listen(config: Config) -> str:
    """The tap's address for the recorder; an empty host is every address of both families (asyncio)."""
    kind, _, rest = config.tap_address.partition(":")
    if kind == "tcp" and host_port(rest).everywhere:
        return f"tcp::{host_port(rest).port}"
    return config.tap_address
