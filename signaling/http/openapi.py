"""The OpenAPI 3.1 document, made from the route table and the msgspec structs; other rooms add their paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from signaling import messages as m
from signaling.http.problems import MEDIA_TYPE
from signaling.problems import ProblemDocument
from signaling.roles import ROLES
from signaling.routes import Operation, Success
from signaling.texts import TEXTS

_REF = "#/components/schemas/{name}"

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Location": ("Where it is.", {"type": "string"}),
    "ETag": ("Names the ICE credentials in force.", {"type": "string", "pattern": '^".*"$'}),
    "Link": ("STUN and TURN servers, extensions.", {"type": "string"}),
    "Accept-Patch": ("What PATCH takes.", {"type": "string"}),
    "Accept-Post": ("What POST takes.", {"type": "string"}),
    "Allow": ("Methods.", {"type": "string"}),
    "Kongzhong-Connection": ("The connection's public id.", {"type": "string"}),
    "Retry-After": ("Seconds.", {"type": "string", "pattern": "^[0-9]+$"}),
    "WWW-Authenticate": ("RFC 6750.", {"type": "string"}),
}
_ALWAYS = frozenset({"Location", "ETag", "Accept-Patch", "Kongzhong-Connection", "Retry-After", "WWW-Authenticate"})


def document(
    operations: Iterable[Operation],
    extra_paths: Mapping[str, Any] | None = None,
    extra_schemas: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``extra_paths`` and ``extra_schemas`` go in as they are; a path of ours wins over one of the same name."""
    operations = [operation for operation in operations if not operation.hidden]
    structs = _structs(operations)
    _, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    paths: dict[str, Any] = {path: dict(item) for path, item in (extra_paths or {}).items()}
    for operation in operations:
        if operation.success.status == 101:  # OpenAPI has no words for an upgrade; the protocol's document has
            continue
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kongzhong 空中课堂",
            "version": "1",
            "description": "The HTTP part of the protocol. The class WebSocket is described in docs/protocol.md; "
            "its messages are among the schemas.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**(extra_schemas or {}), **schemas},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"For one lesson and one role: {', '.join(sorted(ROLES))}.",
                }
            },
        },
    }


def problems(codes: Iterable[str]) -> dict[str, Any]:
    """OpenAPI responses for codes of the catalogue, those of one status together; for other rooms too."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(TEXTS[code].status, []).append(code)
    return {str(status): _problem(status, sorted(names)) for status, names in sorted(by_status.items())}


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    headers = {401: ("WWW-Authenticate",), 503: ("Retry-After",), 405: ("Allow",)}.get(status, ())
    answer: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {TEXTS[code].en_title}" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemDocument")}}},
    }
    if headers:
        answer["headers"] = _headers(headers)
    return answer


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {
        name: {"description": _HEADERS[name][0], "schema": _HEADERS[name][1], "required": name in _ALWAYS}
        for name in names
    }


def _structs(operations: Iterable[Operation]) -> list[type[Any]]:
    found: dict[type[Any], None] = {ProblemDocument: None}
    for operation in operations:
        if operation.body is not None and operation.body.schema is not None:
            found[operation.body.schema] = None
        for success in (operation.success, *operation.also):
            if success.schema is not None:
                found[success.schema] = None
    found.update(dict.fromkeys((*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES)))
    return list(found)


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            **{str(success.status): _success(success) for success in (operation.success, *operation.also)},
            **problems(operation.problems),
        },
    }
    if operation.parameters:
        described["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.where,
                "required": parameter.required,
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
            for parameter in operation.parameters
        ]
    if operation.body is not None:
        schema: dict[str, Any] = {"type": "string"}
        if operation.body.schema is not None:
            schema = {"$ref": _REF.format(name=operation.body.schema.__name__)}
        content: dict[str, Any] = {"schema": schema}
        if operation.body.example:
            content["example"] = operation.body.example
        described["requestBody"] = {"required": True, "content": {operation.body.media_type: content}}
    if operation.roles is not None:
        described["security"] = [{"token": []}]
        described["description"] = f"Roles: {', '.join(sorted(operation.roles))}."
    return described


def _success(success: Success) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": success.description}
    if success.media_type is not None:
        schema: dict[str, Any] = {}
        if success.schema is not None:
            schema = {"$ref": _REF.format(name=success.schema.__name__)}
        elif success.media_type != "application/json":
            schema = {"type": "string"}
        answer["content"] = {success.media_type: {"schema": schema}}
    if success.headers:
        answer["headers"] = _headers(success.headers)
    return answer
