"""The library's part of the OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

_PROBLEM = {
    "description": "problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_GAP = {
    "type": "object",
    "required": ["start", "seconds", "track"],
    "properties": {
        "start": {"type": "number", "minimum": 0, "description": "seconds from the beginning"},
        "seconds": {"type": "number", "minimum": 0},
        "track": {"type": "string"},
    },
}
RESOURCE: dict[str, Any] = {
    "type": "object",
    "required": ["id", "lesson", "title", "recorded_at", "duration", "published", "media_type", "size", "sha256"],
    "properties": {
        "id": {"type": "string"},
        "lesson": {"type": "string"},
        "title": {"type": "string"},
        "recorded_at": {"type": "string", "format": "date-time"},
        "duration": {"type": "number", "minimum": 0, "description": "seconds"},
        "published": {"type": "boolean"},
        "media_type": {"type": "string"},
        "size": {"type": "integer", "minimum": 0},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "width": {"type": "integer", "minimum": 0},
        "height": {"type": "integer", "minimum": 0},
        "gaps": {"type": "array", "items": _GAP},
        "poster": {"type": ["string", "null"]},
    },
}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_SECURITY: list[dict[str, list[str]]] = [{}, {"bearer": []}]


def _refusals(*codes: int) -> dict[str, Any]:
    return {str(code): _PROBLEM for code in codes}


def _resource(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": RESOURCE}}}


def _binary(media_types: tuple[str, ...], description: str) -> dict[str, Any]:
    return {"description": description, "content": {each: {} for each in media_types}}


def openapi_paths() -> dict[str, Any]:
    """The ``paths`` of the library. The document around it defines ``Problem`` and the ``bearer`` security scheme."""
    media = ("video/mp4", "video/webm", "video/x-matroska")
    query: list[dict[str, Any]] = [
        {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 200}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
        {
            "name": "offset",
            "in": "query",
            "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
        },
    ]
    page = {
        "type": "object",
        "required": ["total", "resources"],
        "properties": {"total": {"type": "integer"}, "resources": {"type": "array", "items": RESOURCE}},
    }
    change = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "published": {"type": "boolean"},
            "title": {"type": "string", "minLength": 1, "maxLength": 300},
        },
    }
    listing = {
        "summary": "Published resources, and with a token the unpublished of its lesson",
        "security": _SECURITY,
        "parameters": query,
        "responses": {
            "200": {"description": "newest first", "content": {"application/json": {"schema": page}}},
            **_refusals(400, 401),
        },
    }
    patch = {
        "summary": "Publish, withdraw or rename",
        "security": [{"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": change}}},
        "responses": {"200": _resource("as it is now"), **_refusals(400, 401, 403, 404, 413)},
    }
    watch = {
        "summary": "A cookie with which media and poster of an unpublished resource open for 4 hours",
        "security": _SECURITY,
        "responses": {"204": {"description": "the cookie is set"}, **_refusals(401, 403, 404)},
    }
    file = {
        "summary": "The file; with ranges",
        "security": _SECURITY,
        "parameters": [
            {"name": "download", "in": "query", "allowEmptyValue": True, "schema": {"type": "string"}},
            {"name": "Range", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": _binary(media, "all of it"),
            "206": _binary(media, "one range"),
            "304": {"description": "the ETag is the caller's"},
            **_refusals(401, 403, 404, 416),
        },
    }
    poster = {
        "summary": "A picture of the lesson",
        "security": _SECURITY,
        "responses": {
            "200": _binary(("image/jpeg",), "the picture"),
            "206": _binary(("image/jpeg",), "one range"),
            "304": {"description": "the ETag is the caller's"},
            **_refusals(401, 403, 404, 416),
        },
    }
    show = {
        "summary": "One resource",
        "security": _SECURITY,
        "responses": {"200": _resource("the resource"), **_refusals(401, 403, 404)},
    }
    return {
        "/api/library": {"get": listing},
        "/api/library/{id}": {"parameters": [_ID], "get": show, "patch": patch},
        "/api/library/{id}/watch": {"parameters": [_ID], "post": watch},
        "/api/library/{id}/media": {"parameters": [_ID], "get": file},
        "/api/library/{id}/poster": {"parameters": [_ID], "get": poster},
    }
