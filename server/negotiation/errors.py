"""The one exception that may leave this package."""

from __future__ import annotations

from collections.abc import Iterable


class NegotiationError(Exception):
    """What the other side said cannot be used; ``code`` and ``detail`` are fit for a problem document (RFC 9457).

    ``code`` is ``not-sdp``, ``too-many-sections``, ``unsupported-sdp``, ``no-common-codec`` (then with ``offered`` and
    ``accepted``) or ``bad-fragment``. ``detail`` is English, ends without a full stop and never quotes more than a few
    words of the input.
    """

    def __init__(self, code: str, detail: str, *, offered: Iterable[str] = (), accepted: Iterable[str] = ()) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.offered = tuple(offered)
        self.accepted = tuple(accepted)

    @property
    def extra(self) -> dict[str, list[str]]:
        """``offered`` and ``accepted`` as lists, or nothing where they say nothing."""
        if not self.accepted:
            return {}
        return {"offered": list(self.offered), "accepted": list(self.accepted)}
