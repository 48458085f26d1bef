"""``kongzhong loadtest``: the load test's own command; it needs no settings of the server."""

from loadtest.command import loadtest as command

__all__ = ["command"]
