"""The words of every refusal, zh-CN and en, in one catalogue: what is wrong, and what a teacher can do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["zh-CN", "en"]
DEFAULT_LANGUAGE: Language = "zh-CN"


class Text(NamedTuple):
    """``status`` is the HTTP status the code always goes with; details may hold ``{name}`` fields."""

    status: int
    zh_title: str
    zh_detail: str
    en_title: str
    en_detail: str


TEXTS: dict[str, Text] = {
    # --- who ---
    "no-token": Text(
        401,
        "需要令牌",
        "请从课程链接重新进入；链接里带有进入课堂所需的令牌。",
        "A token is needed",
        "Please enter through the lesson's link again; it carries the token.",
    ),
    "bad-token": Text(
        401,
        "令牌无效",
        "令牌不完整或不是本平台签发的，请向管理员索取新的课程链接。",
        "The token is not valid",
        "The token is incomplete or was not issued here. Please ask the administrator for a new link.",
    ),
    "expired-token": Text(
        401,
        "令牌已过期",
        "课程链接已过期，请向管理员索取新的链接。",
        "The token has expired",
        "The lesson's link has expired. Please ask the administrator for a new one.",
    ),
    "other-lesson": Text(
        403,
        "不是这节课的令牌",
        "您的令牌属于另一节课，请使用这节课的链接。",
        "The token is for another lesson",
        "Your token belongs to another lesson. Please use this lesson's link.",
    ),
    "role": Text(
        403,
        "没有权限",
        "您的身份（{role}）不能进行此操作。",
        "Not allowed",
        "The role {role} may not do this.",
    ),
    "not-yours": Text(
        403,
        "不是您的连接",
        "这条连接属于另一个席位，只有本席位或授课人员可以操作。",
        "Not your connection",
        "This connection belongs to another seat; only that seat and the lesson's staff may act on it.",
    ),
    "foreign-origin": Text(
        403,
        "来源网站未获许可",
        "此网页的来源不在允许之列，请管理员在设置 cors 中加入它。",
        "The page's origin is not allowed",
        "The origin of this page is not allowed; an administrator can add it to the setting cors.",
    ),
    # --- what ---
    "unknown-lesson": Text(
        404,
        "没有这节课",
        "没有找到这节课，请检查链接是否完整。",
        "No such lesson",
        "There is no such lesson. Please check that the link is complete.",
    ),
    "unknown-connection": Text(
        404,
        "没有这条连接",
        "这条连接不存在或已经结束，请重新加入课堂。",
        "No such connection",
        "This connection does not exist or is over. Please join again.",
    ),
    "not-found": Text(404, "没有此页", "这个地址下没有内容。", "Nothing here", "There is nothing at this address."),
    "method": Text(
        405,
        "不支持此方法",
        "此地址只支持：{allow}。",
        "Method not allowed",
        "This address allows only: {allow}.",
    ),
    "lesson-ended": Text(
        410,
        "课已结束",
        "这节课已经结束，录像稍后会出现在课程库。",
        "The lesson has ended",
        "This lesson has ended; its recording will be in the library shortly.",
    ),
    "publisher-taken": Text(
        409,
        "已有老师在授课",
        "另一台设备正在发布“{publication}”。请先在那台设备上停止，或等它离线后再试。",
        "Somebody else is publishing",
        "Another device is publishing “{publication}”. Stop it there first, or try again once it is offline.",
    ),
    "not-live": Text(
        409,
        "课尚未开始",
        "这节课现在没有在进行，请稍后再试。",
        "The lesson is not live",
        "This lesson is not live now. Please try again later.",
    ),
    # --- bodies ---
    "bad-request": Text(
        400, "请求有误", "服务器无法理解这个请求。", "Bad request", "The server cannot understand this request."
    ),
    "bad-parameter": Text(
        400,
        "参数有误",
        "参数“{name}”的值不可用。",
        "A parameter is wrong",
        "The value of the parameter “{name}” cannot be used.",
    ),
    "bad-json": Text(
        400,
        "请求内容有误",
        "请求内容不是所要求的 JSON（{where}）。",
        "Bad request body",
        "The body is not the JSON that is required here ({where}).",
    ),
    "not-sdp": Text(
        400,
        "不是 SDP",
        "请求内容不是有效的 SDP，请检查编码器的设置。",
        "Not an SDP offer",
        "The body is not a valid SDP offer. Please check the encoder's settings.",
    ),
    "too-many-sections": Text(
        400,
        "媒体段过多",
        "SDP 中的媒体段太多，请只发布所需的音视频。",
        "Too many media sections",
        "The SDP has too many media sections. Please publish only the tracks that are needed.",
    ),
    "bad-fragment": Text(
        400,
        "ICE 片段有误",
        "请求内容不是有效的 trickle ICE 片段。",
        "Bad ICE fragment",
        "The body is not a valid trickle ICE SDP fragment.",
    ),
    "slow-body": Text(
        408,
        "上传超时",
        "请求内容没有在规定时间内到达，请检查网络后重试。",
        "The body was too slow",
        "The body did not arrive in time. Please check the network and try again.",
    ),
    "too-large": Text(
        413,
        "请求内容过大",
        "请求体不能超过 {limit} 字节。",
        "Too large",
        "The request body is limited to {limit} bytes.",
    ),
    "not-sdp-type": Text(
        415,
        "内容类型应为 application/sdp",
        "请以 Content-Type: application/sdp、UTF-8、不压缩的方式发送。",
        "Content type must be application/sdp",
        "Please send Content-Type: application/sdp in UTF-8, without compression.",
    ),
    "not-fragment-type": Text(
        415,
        "内容类型应为 application/trickle-ice-sdpfrag",
        "请以 Content-Type: application/trickle-ice-sdpfrag、UTF-8、不压缩的方式发送。",
        "Content type must be application/trickle-ice-sdpfrag",
        "Please send Content-Type: application/trickle-ice-sdpfrag in UTF-8, without compression.",
    ),
    "not-json-type": Text(
        415,
        "内容类型应为 application/json",
        "请以 Content-Type: application/json、UTF-8、不压缩的方式发送。",
        "Content type must be application/json",
        "Please send Content-Type: application/json in UTF-8, without compression.",
    ),
    "unsupported-sdp": Text(
        422,
        "SDP 中有不支持的内容",
        "服务器不支持此 SDP 所要求的功能。",
        "The SDP asks for something unsupported",
        "The server does not support what this SDP asks for.",
    ),
    "no-common-codec": Text(
        422,
        "没有共同的编码格式",
        "您的设备提供 {offered}，服务器接受 {accepted}。请在设备上换一种编码。",
        "No common codec",
        "Your device offers {offered}; the server accepts {accepted}. Please choose another codec on the device.",
    ),
    "unknown-layer": Text(
        422,
        "没有这个画质",
        "老师现在没有发布这个画质，请换一个或选择自动。",
        "No such layer",
        "The teacher does not publish this layer now. Please choose another, or automatic.",
    ),
    "refused": Text(
        422,
        "服务器不能接受",
        "媒体服务器不能接受这个请求。",
        "Refused",
        "The media server cannot accept this request.",
    ),
    "stale": Text(
        412,
        "ICE 凭据已更换",
        "这条连接的 ICE 凭据已经更换，此请求已过时。",
        "Stale entity tag",
        "The ICE credentials of this connection have changed; this request is out of date.",
    ),
    "precondition-required": Text(
        428,
        "缺少 If-Match",
        '请在 If-Match 中带上连接的 ETag；重启 ICE 时用 "*"。',
        "If-Match is needed",
        "Please send the connection's ETag in If-Match; to restart ICE, send “*”.",
    ),
    "expectation": Text(
        417, "无法满足 Expect", "不支持此 Expect 请求头。", "Expectation failed", "This Expect header is not supported."
    ),
    # --- us ---
    "internal": Text(
        500,
        "服务器出错",
        "服务器内部出错，已记录。请稍后重试。",
        "Server error",
        "Something went wrong on the server; it has been logged. Please try again shortly.",
    ),
    "unavailable": Text(
        503,
        "暂时不可用",
        "媒体服务器暂时没有响应，系统会自动重试。",
        "Not available now",
        "The media server does not answer now; the page tries again by itself.",
    ),
    "full": Text(
        503,
        "名额已满",
        "连接数已达上限，请关闭多余的页面或稍后再试。",
        "Full",
        "The limit of connections is reached. Close pages you do not need, or try again later.",
    ),
    # --- WebSocket ---
    "upgrade-required": Text(
        426,
        "需要 WebSocket",
        "这个地址只用于 WebSocket 连接。",
        "WebSocket needed",
        "This address is for WebSocket connections only.",
    ),
    "no-subprotocol": Text(
        400,
        "缺少子协议",
        "请在 Sec-WebSocket-Protocol 中提供 kongzhong.v1.json 或 kongzhong.v1.msgpack。",
        "A subprotocol is needed",
        "Please offer kongzhong.v1.json or kongzhong.v1.msgpack in Sec-WebSocket-Protocol.",
    ),
    "no-hello": Text(
        408,
        "没有收到问候",
        "第一条消息必须是 hello，并在 {seconds} 秒内到达。",
        "No hello",
        "The first message must be a hello and arrive within {seconds} s.",
    ),
    "flood": Text(
        429,
        "消息过多",
        "发送消息太快，连接已关闭。",
        "Too many messages",
        "Messages came too fast; the connection is closed.",
    ),
    "bad-message": Text(
        400,
        "消息格式有误",
        "无法读取这条消息（{where}）。",
        "The message cannot be read",
        "This message cannot be read ({where}).",
    ),
    "unknown-type": Text(
        400,
        "未知的消息类型",
        "服务器不认识这种消息。",
        "Unknown message type",
        "The server does not know this type of message.",
    ),
}


def language_of(accept_language: str | None) -> Language:
    """The better of our two languages for an ``Accept-Language`` field (RFC 9110, 12.5.4); zh-CN when in doubt."""
    best: dict[str, float] = {}
    for item in (accept_language or "").split(",")[:20]:
        tag, _, parameters = item.partition(";")
        primary = tag.strip().lower().split("-")[0]
        name, _, value = parameters.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        best[primary] = max(best.get(primary, 0.0), quality)
    return "en" if best.get("en", 0.0) > best.get("zh", best.get("*", 0.0)) else "zh-CN"


def words(code: str, language: Language, **fields: object) -> tuple[str, str]:
    """Title and detail of a code; a field that the caller does not know is shown as a dash."""
    text = TEXTS[code]
    title, detail = (text.en_title, text.en_detail) if language == "en" else (text.zh_title, text.zh_detail)
    return title, detail.format_map(_Fields(fields))


class _Fields(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "—"
