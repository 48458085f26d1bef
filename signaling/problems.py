"""A refusal, wherever it is decided: a code of the catalogue, and the document (RFC 9457) that it becomes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from signaling.relay import Refused
from signaling.texts import TEXTS, language_of, words


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a refusal."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    offered: tuple[str, ...] | None = None
    accepted: tuple[str, ...] | None = None


class Problem(Exception):
    """A request is refused because of what it is; ``fields`` fill the words of its detail.

    ``headers`` go out with it where the request came by HTTP.
    """

    def __init__(
        self,
        code: str,
        *,
        headers: Mapping[str, str] | None = None,
        offered: list[str] | None = None,
        accepted: list[str] | None = None,
        **fields: object,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = TEXTS[code].status
        self.headers = dict(headers or {})
        self.offered = offered
        self.accepted = accepted
        self.fields = fields

    def document(self, accept_language: str | None) -> ProblemDocument:
        language = language_of(accept_language)
        fields = dict(self.fields)
        for name, names in (("offered", self.offered), ("accepted", self.accepted)):
            if names:
                fields[name] = ("、" if language == "zh-CN" else ", ").join(names)
        title, detail = words(self.code, language, **fields)
        return ProblemDocument(
            type=f"urn:kongzhong:problem:{self.code}",
            title=title,
            status=self.status,
            detail=detail,
            code=self.code,
            offered=None if self.offered is None else tuple(self.offered),
            accepted=None if self.accepted is None else tuple(self.accepted),
        )


_RELAY_CODES = frozenset(
    {
        "not-sdp",
        "no-common-codec",
        "too-many-sections",
        "unsupported-sdp",
        "unknown-connection",
        "unknown-lesson",
        "unknown-layer",
        "not-live",
        "full",
        "bad-fragment",
        "unavailable",
    }
)


def from_relay(refused: Refused) -> Problem:
    """What a relay's refusal becomes; a code that we do not know is ``refused`` (422)."""
    code = refused.code if refused.code in _RELAY_CODES else "refused"
    return Problem(code, offered=refused.extra.get("offered"), accepted=refused.extra.get("accepted"))


def where(error: Exception) -> str:
    """The place in a message that msgspec complains of (``$.title``), never the value found there."""
    _, separator, path = str(error).rpartition(" - at `")
    return path.rstrip("`") if separator and path.isprintable() and len(path) < 80 else "$"
