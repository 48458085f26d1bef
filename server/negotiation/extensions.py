"""Which RTP header extensions (RFC 8285) an answer keeps: those the plane reads or writes, with the offerer's ids."""

from __future__ import annotations

from server.media.plane import Extension
from server.negotiation.sdp import MediaSection

_BY_URI = {extension.value: extension for extension in Extension}
_SENT_BY_PUBLISHERS = ("sendrecv", "sendonly")
_READ_BY_WATCHERS = ("sendrecv", "recvonly")
_OF_SIMULCAST = frozenset({Extension.RID, Extension.REPAIRED_RID})
MAX_ONE_BYTE = 14
"""Ids of the one-byte form; 15 is reserved (RFC 8285, 4.2)."""


def common(section: MediaSection, *, they_send: bool, mixed: bool) -> dict[Extension, int]:
    """Extensions of an m-line that we keep, by id, in the offerer's order.

    A watcher gets one stream, so nothing that names layers.

    Two-byte ids need ``extmap-allow-mixed`` (``mixed``): without it one large id would change every packet's form.
    """
    directions = _SENT_BY_PUBLISHERS if they_send else _READ_BY_WATCHERS
    found: dict[Extension, int] = {}
    for id_, direction, uri in section.extmaps:
        extension = _BY_URI.get(uri)
        fits = id_ <= MAX_ONE_BYTE or (mixed and id_ > MAX_ONE_BYTE + 1)
        if extension is None or direction not in directions or not fits:
            continue
        if extension in _OF_SIMULCAST and not they_send:
            continue
        if extension not in found and id_ not in found.values():
            found[extension] = id_
    return found
