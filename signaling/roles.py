"""Who may what: the roles of a token and the rights of each. The table of docs/protocol.md in code."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["teacher", "assistant", "classroom", "inspector", "ops"]

ROLES: frozenset[str] = frozenset(get_args(Role))
PUBLISH: frozenset[str] = frozenset({"teacher"})
WATCH: frozenset[str] = ROLES
END: frozenset[str] = frozenset({"teacher", "assistant", "ops"})
SEE_SEATS: frozenset[str] = frozenset({"teacher", "assistant", "inspector", "ops"})
HEAR_RECORDING: frozenset[str] = frozenset({"teacher", "assistant", "ops"})
STAFF: frozenset[str] = frozenset({"teacher", "assistant", "ops"})
"""May act on connections that are not their own."""
OPS: frozenset[str] = frozenset({"ops"})

EVERY_LESSON = "*"
"""The ``lesson`` of a token that is good for all; only for ``ops``."""
