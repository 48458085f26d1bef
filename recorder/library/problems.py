"""What the library says when it says no: problem documents (RFC 9457) in the reader's language."""

from __future__ import annotations

import json

from aiohttp import web

# code: status, (title, detail) in Chinese, (title, detail) in English
_PROBLEMS: dict[str, tuple[int, tuple[str, str], tuple[str, str]]] = {
    "unknown-resource": (
        404,
        ("没有这个资源", "课程库里没有这个编号的资源，可能链接不完整。"),
        ("No such resource", "The library has no resource with this id; the link may be incomplete."),
    ),
    "no-poster": (
        404,
        ("没有封面", "这节课只有声音，没有封面图。"),
        ("No poster", "This lesson has sound only and therefore no poster."),
    ),
    "file-missing": (
        404,
        ("文件不在了", "资源的文件已不在存储中，请联系运维人员。"),
        ("The file is gone", "The resource's file is no longer in the archive; please tell your operations staff."),
    ),
    "token-needed": (
        401,
        ("需要令牌", "这个资源尚未发布，需要有效的令牌才能查看。"),
        ("A token is needed", "This resource is not published; a valid token is needed to see it."),
    ),
    "not-allowed": (
        403,
        ("没有权限", "您的令牌不属于这节课，或者角色不允许这样做。"),
        ("Not allowed", "Your token is for another lesson, or its role may not do this."),
    ),
    "bad-query": (
        400,
        ("查询参数有误", "limit 应为 1 到 100 的整数，offset 应为 0 或更大的整数，q 不超过 200 个字。"),
        (
            "Bad query",
            "limit is an integer from 1 to 100, offset an integer of 0 or more, q at most 200 characters.",
        ),
    ),
    "bad-json": (
        400,
        ("请求内容有误", "请求体应是 JSON 对象，可以包含 published（布尔值）和 title（1 到 300 个字）。"),
        (
            "Bad request body",
            "The body is a JSON object with published (boolean) and/or title (1 to 300 characters).",
        ),
    ),
    "too-large": (
        413,
        ("请求内容过大", "请求体不能超过 8 KiB。"),
        ("Too large", "The request body is limited to 8 KiB."),
    ),
    "bad-range": (
        416,
        ("范围无效", "请求的字节范围不在文件之内。"),
        ("Range not satisfiable", "The range asked for lies outside of the file."),
    ),
}


def problem(request: web.Request, code: str, headers: dict[str, str] | None = None) -> web.Response:
    """The response for ``code``, one of the keys above."""
    status, chinese, english = _PROBLEMS[code]
    title, detail = english if _prefers_english(request.headers.get("Accept-Language", "")) else chinese
    body = {"type": f"urn:kongzhong:problem:{code}", "title": title, "status": status, "detail": detail, "code": code}
    out = {"Cache-Control": "no-store", "Vary": "Accept-Language", **(headers or {})}
    if status == 401:
        out["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode(),
        content_type="application/problem+json",
        headers=out,
    )


def _prefers_english(header: str) -> bool:
    """Whether English is wanted more than Chinese (RFC 9110, 12.5.4); Chinese is the default."""
    weights = {"zh": 0.0, "en": 0.0}
    for item in header[:500].split(","):
        tag, _, parameter = item.strip().partition(";")
        language = tag.strip().lower()[:2]
        if language in weights:
            try:
                weight = float(parameter.strip().removeprefix("q=") or 1)
            except ValueError:
                continue
            weights[language] = max(weights[language], weight)
    return weights["en"] > weights["zh"]
