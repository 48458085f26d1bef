"""The OpenAPI document drives a fuzzer against the running service: no 5xx, no answer that it does not name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.checks import positive_data_acceptance

from signaling.http import openapi
from signaling.service import Signaling
from tests.support.class_server import ClassServer, class_server


class _Running:
    """The service in a thread with a loop of its own: the fuzzer is synchronous."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.server: ClassServer

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with class_server(self._folder) as self.server:
            self._ready.set()
            await self._done.wait()

    def __enter__(self) -> ClassServer:
        self._thread.start()
        assert self._ready.wait(30)
        return self.server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClassServer]:
    with _Running(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def _sdp(_context: Any, value: Any) -> bytes:
    """Half of the bodies begin like SDP, so that not all stop at the first line."""
    text = value if isinstance(value, str) else repr(value)
    return (f"v=0\r\n{text}" if len(text) % 2 else text).encode("utf-8", "surrogatepass")


OPERATIONS = (
    "whip_post", "whip_patch", "whip_delete", "whep_post", "whep_patch", "whep_delete", "whep_layer",
    "list_lessons", "create_lesson", "get_lesson", "end_lesson", "list_connections", "ops", "openapi",
)  # fmt: skip


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_answer_is_one_that_the_document_names(server: ClassServer, operation_id: str) -> None:
    # Through hypothesis and not through schemathesis' pytest plugin, which lags behind pytest's newest release.
    schema = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    operation = schema.find_operation_by_id(operation_id)
    # For every lesson, so that the fuzz gets past the gate.
    headers = {"Authorization": f"Bearer {server.tokens.issue('*', 'ops', 'fuzz')}"}
    lesson = server.store.create("被试探的课")
    # JSON Schema cannot say what SDP is: to the document every string is a good offer.
    excluded = [positive_data_acceptance] if operation_id.endswith(("_post", "_patch")) else []

    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), real=strategies.booleans())
    def fuzz(case: Any, real: bool) -> None:
        if real and "lesson" in case.path_parameters:
            case.path_parameters["lesson"] = lesson.id
        case.call_and_validate(headers=headers, timeout=20, excluded_checks=excluded)

    fuzz()


@pytest.mark.parametrize("role", ["teacher", "classroom", "ops"])
def test_the_document_fits_what_a_real_lesson_answers(server: ClassServer, role: Any) -> None:
    lesson = server.store.create("真实的课")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.tokens.issue(lesson.id, role, 'fuzz')}"
    document = session.get(f"{server.url}/api/openapi.json", timeout=20).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            url = server.url + path.format(lesson=lesson.id, secret="x" * 22)
            response = session.request(method, url, data=b"junk", headers={"Content-Type": "text/plain"}, timeout=20)
            assert str(response.status_code) in operation["responses"], (method, path, response.status_code)
            named = operation["responses"][str(response.status_code)]
            assert response.headers["Content-Type"].split(";")[0] in named["content"]


def test_the_fuzzer_uses_its_checks() -> None:
    assert {"not_a_server_error", "status_code_conformance", "response_schema_conformance"} <= {
        check.__name__ for check in CHECKS.get_all()
    }


def test_other_rooms_add_their_paths(server: ClassServer) -> None:
    signaling: Signaling = server.signaling
    extra = {"/api/library": {"get": {"operationId": "library", "responses": openapi.problems(["internal"])}}}
    document = openapi.document(signaling.operations, extra, {"ResourceView": {"type": "object"}})
    assert document["openapi"].startswith("3.1")
    assert "/api/library" in document["paths"]
    assert document["components"]["schemas"]["ResourceView"] == {"type": "object"}
    assert "500" in document["paths"]["/api/library"]["get"]["responses"]


def test_every_operation_and_every_message_is_described(server: ClassServer) -> None:
    document = server.signaling.document()
    identifiers = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert sorted(identifiers) == sorted(OPERATIONS)
    assert {"Welcome", "Seats", "Stats", "LessonDetail", "OpsSummary", "ProblemDocument"} <= set(
        document["components"]["schemas"]
    )
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            if "security" in operation:
                assert {"401", "403"} <= set(operation["responses"])
