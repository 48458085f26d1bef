"""The one exception of a start that cannot be, and the words for what the operating system said."""

from __future__ import annotations

import errno


class StartError(Exception):
    """One line for a person who can mend it; the command ends with exit code 2."""


def port_error(what: str, address: object, error: OSError) -> StartError:
    reasons = {
        errno.EADDRINUSE: "the port is in use",
        errno.EACCES: "no right to use this port",
        errno.EADDRNOTAVAIL: "this machine does not have this address",
    }
    return StartError(f"{what} {address}: {reasons.get(error.errno or 0) or error.strerror or error}")
