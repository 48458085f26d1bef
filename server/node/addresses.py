"""Which of this machine's addresses an answer names: announced ones, the bound one, or all that a peer may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import ifaddr

from server.node import limits

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def candidate_addresses(host: str, announce: Sequence[str] = ()) -> list[str]:
    """IP addresses for host candidates, best first.

    :param host: what the media port is bound to: an address, or a wildcard (``0.0.0.0``, ``::`` or empty) for all
        interfaces.
    :param announce: addresses by which others reach us (behind a 1:1 NAT); they replace all others but loopback.
    :raises ValueError: an announced or bound address that is no IP address.
    """
    if announce:
        found = [ipaddress.ip_address(text) for text in announce]
        found += [address for address in _of_interfaces() if address.is_loopback]
    elif host and not ipaddress.ip_address(host).is_unspecified:
        found = [ipaddress.ip_address(host)]
    else:
        found = _of_interfaces()
    ordered = sorted(dict.fromkeys(found), key=_rank) if not announce else list(dict.fromkeys(found))
    return [str(address) for address in ordered[: limits.ADDRESSES]]


def _rank(address: _Address) -> tuple[bool, bool]:
    """Loopback last: it serves a browser on this machine when there is no network, and nobody else. IPv4 first: some
    encoders read the first candidate only."""
    return address.is_loopback, address.version == 6


def _of_interfaces() -> list[_Address]:
    found: list[_Address] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(text)
            # Link-local IPv6 needs a zone that has no meaning on the other side.
            if not (address.is_link_local or address.is_multicast or address.is_unspecified):
                found.append(address)
    return found
