"""A controlling ICE agent with one socket, sans IO (RFC 8445): checks, nomination, consent (RFC 7675).

It works against an ICE-lite server, which only answers, and against a full one, whose own checks it answers and
learns peer-reflexive candidates from. Messages are built and read by ``aioice.stun``; times are monotonic seconds.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from aioice import stun

from loadtest import limits

Address = tuple[str, int]
Outgoing = list[tuple[bytes, Address]]

PACE = 0.02  # seconds between the first checks of two candidates (RFC 8445, 14.2: Ta)
FIRST_RTO = 0.1  # seconds; doubles up to MAX_RTO. Below RFC 8445's 500 ms, as every browser does
MAX_RTO = 1.6
CHECK_TRIES = 7
PRIORITY = (110 << 24) | (65_535 << 8) | 255  # peer-reflexive, component 1 (RFC 8445, 7.1.1)


class Check(Enum):
    WAITING = auto()
    SUCCEEDED = auto()
    FAILED = auto()


@dataclass(slots=True)
class Pair:
    """Our socket and one remote candidate."""

    address: Address
    priority: int
    state: Check = Check.WAITING
    nominating: bool = False
    tries: int = 0
    due: float = 0.0
    transactions: list[bytes] = field(default_factory=list)


def credentials() -> tuple[str, str]:
    """A new ufrag and pwd (RFC 8839, 5.4)."""
    return secrets.token_hex(4), secrets.token_hex(12)


class IceAgent:
    """Feed it datagrams that begin with 0..3 and ``poll`` it when ``due``; ``selected`` is where media goes."""

    def __init__(self, ufrag: str, pwd: str) -> None:
        self.ufrag, self.pwd = ufrag, pwd
        self.selected: Address | None = None
        self.failed = False
        self.answered = 0  # the peer's checks that we answered
        self.rtt: float | None = None  # seconds, of the last consent check
        self._remote_ufrag = self._remote_pwd = ""
        self._remote_key = b""
        self._lite = False
        self._controlling = True
        # The largest number: a peer that also believes it controls must give way (RFC 8445, 7.3.1.1), so that the
        # offerer stays in control as RFC 8445, 6.1.1 wants.
        self._tie_breaker = (1 << 64) - 1
        self._pairs: dict[Address, Pair] = {}
        self._early: Outgoing = []
        self._consent_due = 0.0
        self.consent_seen = 0.0  # monotonic time of the last answer
        self._consent_sent: dict[bytes, float] = {}

    def start(self, ufrag: str, pwd: str, lite: bool, candidates: Sequence[tuple[Address, int]], now: float) -> None:
        """The answer is here: begin checking. No candidates is no error, the peer's checks will show its address."""
        self._remote_ufrag, self._remote_pwd, self._lite = ufrag, pwd, lite
        self._remote_key = pwd.encode()
        for index, (address, priority) in enumerate(candidates):
            self.add_candidate(address, priority, now + index * PACE)

    def add_candidate(self, address: Address, priority: int, due: float) -> None:
        """Check ``address`` from ``due`` on; known ones and those past ``MAX_CANDIDATES`` are ignored."""
        if address not in self._pairs and len(self._pairs) < limits.MAX_CANDIDATES:
            self._pairs[address] = Pair(address, priority, due=due)

    @property
    def due(self) -> float:
        """When ``poll`` wants to be called next; infinity when nothing is under way."""
        if self.selected is not None:
            return self._consent_due
        waiting = [pair.due for pair in self._pairs.values() if self._is_open(pair)]
        return min(waiting, default=float("inf"))

    def _is_open(self, pair: Pair) -> bool:
        return pair.state is Check.WAITING or (pair.nominating and pair.state is not Check.FAILED)

    def poll(self, now: float) -> Outgoing:
        """The checks that are due. Sets ``failed`` when every candidate is exhausted or consent is gone."""
        if not self._remote_ufrag or self.failed:
            return []
        if self.selected is not None:
            return self._consent(now)
        out: Outgoing = []
        for pair in list(self._pairs.values()):
            if self._is_open(pair) and pair.due <= now:
                if pair.tries >= CHECK_TRIES:
                    pair.state = Check.FAILED
                    continue
                out.append((self._check(pair), pair.address))
                pair.due = now + min(MAX_RTO, FIRST_RTO * 2**pair.tries)
                pair.tries += 1
        self.failed = bool(self._pairs) and all(pair.state is Check.FAILED for pair in self._pairs.values())
        return out

    def hurry(self) -> None:
        """Let the next ``poll`` send a consent check."""
        self._consent_due = 0.0

    def _consent(self, now: float) -> Outgoing:
        if now - self.consent_seen > limits.CONSENT_TIMEOUT:
            self.failed = True
            return []
        if now < self._consent_due or self.selected is None:
            return []
        self._consent_due = now + limits.CONSENT_INTERVAL * (0.8 + 0.4 * secrets.randbelow(1000) / 1000)
        data, transaction = self._request(nominate=False)
        self._consent_sent[transaction] = now
        while len(self._consent_sent) > 8:
            self._consent_sent.pop(next(iter(self._consent_sent)))
        return [(data, self.selected)]

    def _check(self, pair: Pair) -> bytes:
        # A lite peer keeps no checks of its own to wait for, so its first check may nominate: one round trip less.
        data, transaction = self._request(nominate=self._controlling and (pair.nominating or self._lite))
        pair.transactions.append(transaction)
        return data

    def _request(self, nominate: bool) -> tuple[bytes, bytes]:
        attributes: dict[str, object] = {
            "USERNAME": f"{self._remote_ufrag}:{self.ufrag}",
            "PRIORITY": PRIORITY,
            "ICE-CONTROLLING" if self._controlling else "ICE-CONTROLLED": self._tie_breaker,
        }
        if nominate:
            attributes["USE-CANDIDATE"] = None
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
        message.add_message_integrity(self._remote_key)
        assert message.transaction_id is not None
        return bytes(message), message.transaction_id

    def receive(self, data: bytes, address: Address, now: float) -> Outgoing:
        """Take one STUN datagram; what is malformed or not authenticated is dropped."""
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return []
        if message.message_method != stun.Method.BINDING:
            return []
        if message.message_class == stun.Class.REQUEST:
            return self._answer(message, address, now)
        if message.check_message_integrity(self._remote_key):
            return self._response(message, address, now)
        return []

    def _response(self, message: stun.Message, address: Address, now: float) -> Outgoing:
        transaction = message.transaction_id
        if transaction in self._consent_sent:
            if message.message_class == stun.Class.RESPONSE and address == self.selected:
                self.rtt = now - self._consent_sent.pop(transaction)
                self.consent_seen = now
            return []
        pair = next((p for p in self._pairs.values() if transaction in p.transactions), None)
        if pair is None:
            return []
        if message.message_class != stun.Class.RESPONSE:
            if message.error_code == 487:  # role conflict (RFC 8445, 7.2.5.1): the peer insists
                self._controlling = not self._controlling
                pair.due = now
            return self.poll(now)
        if address != pair.address:  # RFC 8445, 7.2.5.2.1: a response from elsewhere is a failure
            pair.state = Check.FAILED
            return []
        return self._succeeded(pair, now)

    def _succeeded(self, pair: Pair, now: float) -> Outgoing:
        pair.state = Check.SUCCEEDED
        if not self._controlling:
            return []
        if pair.nominating or self._lite:
            self._select(pair.address, now)
            return []
        if not any(other.nominating for other in self._pairs.values()):
            pair.nominating, pair.tries, pair.due = True, 0, now
            return self.poll(now)
        return []

    def _select(self, address: Address, now: float) -> None:
        if self.selected is None:
            self.selected = address
            self.consent_seen = now
            self._consent_due = now + limits.CONSENT_INTERVAL

    def _answer(self, message: stun.Message, address: Address, now: float) -> Outgoing:
        attributes = message.attributes
        if not str(attributes.get("USERNAME", "")).startswith(f"{self.ufrag}:"):
            return []
        if not message.check_message_integrity(self.pwd.encode()):
            return []
        conflict = self._controlling and "ICE-CONTROLLING" in attributes
        reply = stun.Message(
            stun.Method.BINDING,
            stun.Class.ERROR if conflict else stun.Class.RESPONSE,
            transaction_id=message.transaction_id,
            attributes={"ERROR-CODE": (487, "Role Conflict")} if conflict else {"XOR-MAPPED-ADDRESS": address},
        )
        reply.add_message_integrity(self.pwd.encode())
        self.answered += 1
        out = [(bytes(reply), address)]
        if conflict or self.selected is not None:
            return out
        self.add_candidate(address, int(attributes.get("PRIORITY", 0)), now)
        pair = self._pairs.get(address)
        if pair is not None and pair.state is Check.FAILED:
            pair.state, pair.tries, pair.due = Check.WAITING, 0, now  # triggered check (RFC 8445, 7.3.1.4)
        if not self._controlling and "USE-CANDIDATE" in attributes:
            self._select(address, now)
        return out + self.poll(now)
