"""Links to the pages. The token is in the fragment, which browsers do not send (docs/protocol.md)."""

from __future__ import annotations

from urllib.parse import urlencode

from signaling.tokens import Tokens


def page_links(base: str, lesson: str, tokens: Tokens, ttl: float) -> dict[str, str]:
    """By page, in the order in which they are shown."""
    teacher = tokens.issue(lesson, "teacher", "teacher", ttl)
    classroom = tokens.issue(lesson, "classroom", None, ttl)
    return {
        "teacher": _link(f"{base}/teach", lesson=lesson, token=teacher),
        "classroom": _link(f"{base}/classroom", lesson=lesson, token=classroom),
        **house_links(base, tokens, ttl),
    }


def house_links(base: str, tokens: Tokens, ttl: float) -> dict[str, str]:
    """The pages that belong to no single lesson."""
    return {
        "library": _link(f"{base}/library", token=tokens.issue("*", "ops", "library", ttl)),
        "ops": _link(f"{base}/ops", token=tokens.issue("*", "ops", "ops", ttl)),
    }


def _link(page: str, **fragment: str) -> str:
    return f"{page}#{urlencode(fragment)}"
