"""WHIP by RFC 9725, section by section: what an endpoint and its sessions must and should do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from signaling.relay import Refused
from signaling.roles import Role
from signaling.settings import SignalingSettings
from tests.support.class_server import ClassServer, class_server, fragment, offer, until

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    settings = SignalingSettings(
        cors=("https://player.example",),
        ice_servers=("stun:stun.example.net", "turn:turn.example.net?transport=udp"),
        turn_secret="shared",
    )
    async with class_server(tmp_path, settings=settings) as running:
        yield running


async def test_4_2_post_creates_a_session_and_answers_201_with_the_answer(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    assert response.status == 201
    assert response.content_type == "application/sdp"
    assert (await response.text()).startswith("v=0")
    assert server.relay.connections[server.opened(response)].sdp == offer()


async def test_4_2_location_points_to_the_session_with_a_secret_that_is_nowhere_else(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    location = response.headers["Location"]
    secret = location.rpartition("/")[2]
    assert location == f"/whip/{lesson.id}/{secret}"
    assert len(base64.urlsafe_b64decode(secret + "==")) == 16
    listing = await server.request(
        "GET", f"/api/lessons/{lesson.id}/connections", headers=server.bearer(lesson.id, "teacher")
    )
    body = await listing.text()
    assert server.opened(response) in body
    assert secret not in body
    assert secret not in server.opened(response)


async def test_4_2_two_sessions_have_two_secrets(server: ClassServer) -> None:
    lesson = server.lesson()
    first = await server.join(lesson.id, publication="camera")
    second = await server.join(lesson.id, publication="screen")
    assert first.headers["Location"] != second.headers["Location"]


async def test_4_2_the_content_type_must_be_application_sdp(server: ClassServer) -> None:
    lesson = server.lesson()
    for content_type in ("text/plain", "application/json", "application/sdp; charset=utf-16"):
        response = await server.join(lesson.id, headers={"Content-Type": content_type})
        assert (response.status, (await response.json())["code"]) == (415, "not-sdp-type")
        assert response.headers["Accept"] == "application/sdp"
    assert (await server.join(lesson.id, headers={"Content-Type": "Application/SDP; charset=UTF-8"})).status == 201


async def test_4_2_an_offer_that_is_not_sdp_is_a_400_and_one_that_cannot_be_met_a_422(server: ClassServer) -> None:
    lesson = server.lesson()
    malformed = await server.join(lesson.id, sdp="hello")
    assert (malformed.status, (await malformed.json())["code"]) == (400, "not-sdp")
    unmet = await server.join(lesson.id, sdp=offer(codec="AV1"))
    problem = await unmet.json()
    assert (unmet.status, problem["code"]) == (422, "no-common-codec")
    assert problem["offered"] == ["AV1"]
    assert problem["accepted"] == ["opus", "VP8", "H264"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_4_2_other_methods_on_the_endpoint_are_405(server: ClassServer, method: str) -> None:
    lesson = server.lesson()
    response = await server.request(method, f"/whip/{lesson.id}", headers=server.bearer(lesson.id, "teacher"))
    assert response.status == 405
    assert response.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST"])
async def test_4_2_other_methods_on_the_session_are_405(server: ClassServer, method: str) -> None:
    lesson = server.lesson()
    location = (await server.join(lesson.id)).headers["Location"]
    response = await server.request(method, location, headers=server.bearer(lesson.id, "teacher", "t"))
    assert response.status == 405
    assert response.headers["Allow"] == "DELETE, OPTIONS, PATCH"


async def test_4_2_delete_terminates_the_session(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    connection, location = server.opened(response), response.headers["Location"]
    headers = server.bearer(lesson.id, "teacher", "t")
    assert (await server.request("DELETE", location, headers=headers)).status == 200
    assert connection in server.relay.closed
    assert (await server.request("DELETE", location, headers=headers)).status == 404
    again = await server.request("PATCH", location, data=fragment(), headers={**headers, **FRAGMENT, "If-Match": "*"})
    assert again.status == 404


async def test_4_2_a_session_that_lost_consent_is_gone(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    server.relay.lose(server.opened(response))
    headers = server.bearer(lesson.id, "teacher", "t")

    async def gone() -> bool:
        patched = await server.request(
            "PATCH", response.headers["Location"], data=fragment(), headers={**headers, **FRAGMENT, "If-Match": "*"}
        )
        return patched.status == 404

    await until(gone)


async def test_4_3_trickle_with_the_current_entity_tag_is_a_204(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {**server.bearer(lesson.id, "teacher", "t"), **FRAGMENT, "If-Match": response.headers["ETag"]}
    patched = await server.request("PATCH", response.headers["Location"], data=fragment(), headers=headers)
    assert patched.status == 204
    assert "Content-Type" not in patched.headers
    assert server.relay.trickled == [(server.opened(response), fragment())]


async def test_4_3_1_the_entity_tag_is_strong_and_quoted(server: ClassServer) -> None:
    response = await server.join(server.lesson().id)
    assert re.fullmatch(r'"[\x21\x23-\x7e]+"', response.headers["ETag"])


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"{etag}"', 204),
        ('"other", "{etag}"', 204),
        ("*", 204),
        ('"*"', 204),
        ('W/"{etag}"', 412),
        ("{etag}", 412),
        ('"other"', 412),
        ("", 412),
        (None, 428),
    ],
)
async def test_4_3_1_if_match_is_compared_strongly(server: ClassServer, if_match: str | None, status: int) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {**server.bearer(lesson.id, "teacher", "t"), **FRAGMENT}
    if if_match is not None:
        headers["If-Match"] = if_match.format(etag=response.headers["ETag"].strip('"'))
    patched = await server.request("PATCH", response.headers["Location"], data=fragment(), headers=headers)
    assert patched.status == status
    assert len(server.relay.trickled) == (status == 204)


async def test_4_3_1_delete_ignores_any_entity_tag(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {**server.bearer(lesson.id, "teacher", "t"), "If-Match": '"stale"'}
    assert (await server.request("DELETE", response.headers["Location"], headers=headers)).status == 200


@pytest.mark.parametrize("wildcard", ["*", '"*"'])
async def test_4_3_3_new_credentials_restart_ice_and_change_the_entity_tag(server: ClassServer, wildcard: str) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    location, old = response.headers["Location"], response.headers["ETag"]
    headers = {**server.bearer(lesson.id, "teacher", "t"), **FRAGMENT}
    restarted = await server.request(
        "PATCH", location, data=fragment("wxyz", "q" * 24), headers={**headers, "If-Match": wildcard}
    )
    assert restarted.status == 200
    assert restarted.content_type == "application/trickle-ice-sdpfrag"
    body = await restarted.text()
    assert "a=ice-ufrag:" in body
    assert "a=ice-pwd:" in body
    new = restarted.headers["ETag"]
    assert new != old
    late = await server.request("PATCH", location, data=fragment(), headers={**headers, "If-Match": old})
    assert (late.status, (await late.json())["code"]) == (412, "stale")
    trickle = await server.request(
        "PATCH", location, data=fragment("wxyz", "q" * 24), headers={**headers, "If-Match": new}
    )
    assert trickle.status == 204


async def test_4_3_3_a_restart_that_cannot_be_met_leaves_the_session_as_it_was(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {**server.bearer(lesson.id, "teacher", "t"), **FRAGMENT}
    server.relay.refusal = Refused("bad-fragment", "")
    refused = await server.request(
        "PATCH",
        response.headers["Location"],
        data=fragment("wxyz", "q" * 24),
        headers={**headers, "If-Match": "*"},
    )
    assert refused.status == 400
    server.relay.refusal = None
    trickle = await server.request(
        "PATCH",
        response.headers["Location"],
        data=fragment(),
        headers={**headers, "If-Match": response.headers["ETag"]},
    )
    assert trickle.status == 204


async def test_4_3_3_a_restart_changes_both_credentials(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {**server.bearer(lesson.id, "teacher", "t"), **FRAGMENT, "If-Match": "*"}
    half = await server.request("PATCH", response.headers["Location"], data="a=ice-ufrag:wxyz\r\n", headers=headers)
    assert (half.status, (await half.json())["code"]) == (400, "bad-fragment")


async def test_4_3_a_fragment_of_another_type_is_a_415(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    headers = {
        **server.bearer(lesson.id, "teacher", "t"),
        "Content-Type": "application/sdp",
        "If-Match": response.headers["ETag"],
    }
    patched = await server.request("PATCH", response.headers["Location"], data=fragment(), headers=headers)
    assert (patched.status, (await patched.json())["code"]) == (415, "not-fragment-type")
    assert patched.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


async def test_4_4_1_an_overloaded_server_says_503_with_retry_after(server: ClassServer) -> None:
    lesson = server.lesson()
    for code in ("unavailable", "full"):
        server.relay.refusal = Refused(code, "")
        response = await server.join(lesson.id)
        assert (response.status, (await response.json())["code"]) == (503, code)
        assert int(response.headers["Retry-After"]) > 0
    server.relay.refusal = None
    assert (await server.join(lesson.id)).status == 201


async def test_4_6_ice_servers_are_link_headers_with_turn_credentials_of_this_request(server: ClassServer) -> None:
    response = await server.join(server.lesson().id)
    stun, turn = response.headers.getall("Link")
    assert stun == '<stun:stun.example.net>; rel="ice-server"'
    found = re.fullmatch(
        r'<turn:turn\.example\.net\?transport=udp>; rel="ice-server"; username="(\d+:[\w-]+)"; '
        r'credential="([^"]+)"; credential-type="password"',
        turn,
    )
    assert found is not None
    mac = hmac.new(b"shared", found[1].encode(), hashlib.sha1).digest()
    assert found[2] == base64.b64encode(mac).decode()


async def test_4_6_options_gives_ice_servers_only_to_a_token(server: ClassServer) -> None:
    lesson = server.lesson()
    assert "Link" not in (await server.request("OPTIONS", f"/whip/{lesson.id}")).headers
    known = await server.request("OPTIONS", f"/whip/{lesson.id}", headers=server.bearer(lesson.id, "teacher"))
    assert len(known.headers.getall("Link")) == 2
    wrong = await server.request("OPTIONS", f"/whip/{lesson.id}", headers={"Authorization": "Bearer x"})
    assert wrong.status == 401


async def test_4_2_options_needs_no_token_and_names_what_is_accepted(server: ClassServer) -> None:
    lesson = server.lesson()
    endpoint = await server.request("OPTIONS", f"/whip/{lesson.id}")
    assert endpoint.status == 204
    assert endpoint.headers["Accept-Post"] == "application/sdp"
    session = await server.request("OPTIONS", (await server.join(lesson.id)).headers["Location"])
    assert session.status == 204
    assert session.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


@pytest.mark.parametrize(("protocol", "role"), [("whip", "teacher"), ("whep", "classroom")])
async def test_4_2_an_endpoint_with_a_slash_at_its_end_is_the_same(
    server: ClassServer, protocol: str, role: Role
) -> None:
    lesson = server.lesson()
    path = f"/{protocol}/{lesson.id}/"
    headers = {**server.bearer(lesson.id, role, "t"), "Content-Type": "application/sdp"}
    made = await server.request("POST", path, data=offer(), headers=headers)
    assert made.status == 201
    assert made.headers["Location"].startswith(f"/{protocol}/{lesson.id}/")
    assert "//" not in made.headers["Location"]
    assert (await server.request("DELETE", made.headers["Location"], headers=headers)).status == 200
    assert (await server.request("OPTIONS", path)).headers["Accept-Post"] == "application/sdp"
    assert (await server.request("POST", path, data=offer())).status == 401
    assert (await server.request("GET", path, headers=headers)).status == 405


async def test_4_7_the_bearer_token_is_needed_on_every_request_but_options(server: ClassServer) -> None:
    lesson = server.lesson()
    location = (await server.join(lesson.id)).headers["Location"]
    for method, path in (("POST", f"/whip/{lesson.id}"), ("PATCH", location), ("DELETE", location)):
        response = await server.request(method, path, data=offer(), headers={"Content-Type": "application/sdp"})
        assert response.status == 401, (method, path)
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="kongzhong"'


async def test_cors_preflight_and_exposed_headers_for_a_configured_origin(server: ClassServer) -> None:
    lesson = server.lesson()
    preflight = await server.request(
        "OPTIONS",
        f"/whip/{lesson.id}",
        headers={
            "Origin": "https://player.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://player.example"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    allowed = {name.strip() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {"Authorization", "Content-Type", "If-Match"}
    assert int(preflight.headers["Access-Control-Max-Age"]) > 0
    response = await server.join(lesson.id, headers={"Origin": "https://player.example"})
    exposed = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"Location", "Link", "ETag", "Accept-Patch", "Accept-Post"}
    assert "Origin" in response.headers["Vary"]


async def test_cors_refusals_are_readable_by_a_configured_origin_and_nothing_is_by_another(server: ClassServer) -> None:
    path = f"/whip/{server.lesson().id}"
    ours = await server.request("POST", path, headers={"Origin": "https://player.example"})
    assert ours.status == 401
    assert ours.headers["Access-Control-Allow-Origin"] == "https://player.example"
    theirs = await server.request("POST", path, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in theirs.headers
