"""Links to the pages. The token is in the fragment, which browsers do not send (docs/protocol.md)."""

from __future__ import annotations

from urllib.parse import urlencode

from signaling.tokens import Tokens


def page_links(base: str, lesson: str, tokens: Tokens, ttl: float) -> dict[str, str]:
    """By page, in the order in which they are shown."""

    def link(path: str, **fragment: str) -> str:
        return f"{base}{path}#{urlencode(fragment)}"

    return {
        "teacher": link("/teach", lesson=lesson, token=tokens.issue(lesson, "teacher", "teacher", ttl)),
        "classroom": link("/classroom", lesson=lesson, token=tokens.issue(lesson, "classroom", None, ttl)),
        "library": link("/library", token=tokens.issue("*", "ops", "library", ttl)),
        "ops": link("/ops", token=tokens.issue("*", "ops", "ops", ttl)),
    }
