"""The controlling agent against a lite server, a full agent, a stubborn one, and silence. Time is an argument."""

from __future__ import annotations

import pytest
from aioice import stun

from loadtest import limits
from loadtest.rawclient.ice import CHECK_TRIES, IceAgent

SERVER = ("192.0.2.1", 8080)
OTHER = ("192.0.2.2", 8080)
PWD = "remote-password-remote-password"


def agent(lite: bool, *candidates: tuple[str, int]) -> IceAgent:
    made = IceAgent("local", "local-password-local-password")
    made.start("remote", PWD, lite, [(address, 100 - i) for i, address in enumerate(candidates)], now=0.0)
    return made


def reply(request: bytes, seen: tuple[str, int] = ("198.51.100.1", 9)) -> bytes:
    """What any server answers; it checks as a server does."""
    message = stun.parse_message(request)
    assert message.check_message_integrity(PWD.encode())
    assert message.attributes["USERNAME"] == "remote:local"
    answer = stun.Message(
        stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id, {"XOR-MAPPED-ADDRESS": seen}
    )
    answer.add_message_integrity(PWD.encode())
    return bytes(answer)


def nominates(request: bytes) -> bool:
    return "USE-CANDIDATE" in stun.parse_message(request).attributes


def test_a_lite_server_is_chosen_after_one_round_trip() -> None:
    client = agent(True, SERVER)
    ((check, to),) = client.poll(0.0)
    assert to == SERVER and nominates(check)
    assert client.receive(reply(check), SERVER, 0.01) == []
    assert client.selected == SERVER


def test_a_full_agent_is_nominated_in_a_second_check() -> None:
    client = agent(False, SERVER, OTHER)
    ((check, _),) = client.poll(0.0)
    assert not nominates(check)
    ((second, to),) = client.receive(reply(check), SERVER, 0.01)
    assert to == SERVER and nominates(second)
    client.receive(reply(second), SERVER, 0.02)
    assert client.selected == SERVER


def test_without_candidates_the_peers_own_check_shows_its_address() -> None:
    client = agent(False)
    assert client.poll(0.0) == [] and not client.failed
    theirs = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={"USERNAME": "local:remote", "PRIORITY": 5, "ICE-CONTROLLED": 7},
    )
    theirs.add_message_integrity(client.pwd.encode())
    answer, check = client.receive(bytes(theirs), OTHER, 1.0)
    assert stun.parse_message(answer[0]).message_class == stun.Class.RESPONSE
    assert check[1] == OTHER
    ((nomination, _),) = client.receive(reply(check[0]), OTHER, 1.1)
    client.receive(reply(nomination), OTHER, 1.2)
    assert (client.selected, client.answered) == (OTHER, 1)


def test_a_check_without_our_password_gets_no_answer() -> None:
    client = agent(True, SERVER)
    forged = stun.Message(
        stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "local:remote", "PRIORITY": 5}
    )
    forged.add_message_integrity(b"wrong")
    assert client.receive(bytes(forged), SERVER, 0.0) == []
    assert client.receive(b"\x00\x01junk", SERVER, 0.0) == []


def test_a_peer_that_wants_control_too_is_told_to_give_way() -> None:
    client = agent(False, SERVER)
    theirs = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={"USERNAME": "local:remote", "PRIORITY": 5, "ICE-CONTROLLING": 7},
    )
    theirs.add_message_integrity(client.pwd.encode())
    ((answer, _),) = client.receive(bytes(theirs), SERVER, 0.0)
    assert stun.parse_message(answer).error_code == 487


def test_when_the_peer_insists_the_client_yields_and_lets_it_nominate() -> None:
    client = agent(False, SERVER)
    ((check, _),) = client.poll(0.0)
    error = stun.Message(
        stun.Method.BINDING,
        stun.Class.ERROR,
        stun.parse_message(check).transaction_id,
        {"ERROR-CODE": (487, "Role Conflict")},
    )
    error.add_message_integrity(PWD.encode())
    ((again, _),) = client.receive(bytes(error), SERVER, 0.1)
    assert "ICE-CONTROLLED" in stun.parse_message(again).attributes
    client.receive(reply(again), SERVER, 0.2)
    assert client.selected is None
    theirs = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={"USERNAME": "local:remote", "PRIORITY": 5, "ICE-CONTROLLING": 7, "USE-CANDIDATE": None},
    )
    theirs.add_message_integrity(client.pwd.encode())
    client.receive(bytes(theirs), SERVER, 0.3)
    assert client.selected == SERVER


def test_silence_ends_in_failure_after_a_bounded_number_of_checks() -> None:
    client = agent(True, SERVER)
    now, sent = 0.0, 0
    while not client.failed and now < 60:
        sent += len(client.poll(now))
        now = max(now + 0.001, client.due if client.due < 60 else now + 1)
    assert client.failed
    assert sent == CHECK_TRIES


def test_consent_is_asked_every_five_seconds_and_ends_after_thirty() -> None:
    client = agent(True, SERVER)
    ((check, _),) = client.poll(0.0)
    client.receive(reply(check), SERVER, 0.0)
    now, asked = 0.0, []
    while now < 20:
        for request, _ in client.poll(now):
            asked.append(now)
            client.receive(reply(request), SERVER, now + 0.01)
        now += 0.25
    assert len(asked) in (3, 4)
    assert client.rtt == pytest.approx(0.01)
    while not client.failed and now < 100:
        client.poll(now)
        now += 0.25
    assert limits.CONSENT_TIMEOUT - 1 < now - asked[-1] < limits.CONSENT_TIMEOUT + 1
