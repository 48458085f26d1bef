"""Every text of the load test that a person reads, in Simplified Chinese and English."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Language = Literal["zh-CN", "en"]

CATALOGUE: dict[str, tuple[str, str]] = {
    "title": ("空中课堂负载测试报告", "kongzhong load test"),
    "verdict-whole": (
        "全部 {planned} 间教室都看到了画面，且没有掉线。",
        "All {planned} classrooms got the picture and kept it.",
    ),
    "verdict-part": (
        "{planned} 间教室中有 {with_picture} 间看到了画面；失败 {failed} 间，掉线 {dropped} 间。",
        "{with_picture} of {planned} classrooms got the picture; {failed} failed, {dropped} dropped.",
    ),
    "verdict-publish": ("只发布，没有教室观看。", "Published only; no classroom watched."),
    "remarks": ("读数前请注意", "Before you trust the figures"),
    "generator-busy": (
        "负载发生器的处理器最高用到 {percent:.0f} %：延迟里可能含有它自己的排队时间。请增加 --workers 或换一台机器。",
        "The generator reached {percent:.0f} % of its cores: its own queueing may be in the latencies. Raise "
        "--workers or use another machine.",
    ),
    "generator-late": (
        "负载发生器的事件循环最多晚了 {ms:.0f} ms：同一时刻的延迟读数偏高。",
        "The generator's event loop was up to {ms:.0f} ms late: latencies of that moment read too high.",
    ),
    "ramp-late": (
        "有教室比计划晚 {ms:.0f} ms 才开始加入（发生器同时打开的连接有上限）。",
        "Classrooms began to join up to {ms:.0f} ms later than planned (the generator opens only so many at a time).",
    ),
    "clocks-differ": (
        "{count:.0f} 个延迟为负值，未计入：两端时钟不一致。",
        "{count:.0f} latencies were negative and left out: the two clocks disagree.",
    ),
    "no-latency": (
        "没有测到单向延迟：服务器去掉了 abs-capture-time，且画面不是本次发布的课。",
        "No one-way latency was measured: the server strips abs-capture-time and the picture is not our own lesson.",
    ),
    "publisher-late": (
        "发布端落后于时间表，丢弃了 {count:.0f} 帧。",
        "The publisher fell behind its schedule and dropped {count:.0f} frames.",
    ),
    "publisher-reconnected": ("发布端重连了 {count:.0f} 次。", "The publisher reconnected {count:.0f} times."),
    "never": (
        "{count:.0f} 间教室始终没有看到完整画面，它们不在任何百分位里。",
        "{count:.0f} classrooms never got a whole picture; they are in no percentile.",
    ),
    "joins": ("加入过程", "Joining"),
    "joins-note": ("教室数随时间变化", "Classrooms over time"),
    "joined": ("已连接", "connected"),
    "receiving": ("收到第一个包", "first packet"),
    "with-picture": ("看到画面", "picture"),
    "first": ("从请求到画面", "From request to picture"),
    "first-note": ("教室数，按所用时间（毫秒，自 POST 起）", "Classrooms by time taken (ms since the POST)"),
    "latency": ("单向延迟", "One-way latency"),
    "latency-note": ("视频帧首包，毫秒：采集时刻 → 教室收到", "First packet of video frames, ms: capture → classroom"),
    "audio-p99": ("声音 p99", "audio p99"),
    "lag": ("负载发生器的迟到", "The generator's own delay"),
    "lag-note": (
        "事件循环晚了多少毫秒；大时延迟读数不可信",
        "How late its event loop ran, ms; when large, latencies are not to be trusted",
    ),
    "loss": ("丢包", "Loss"),
    "loss-note": ("重传后仍丢失的包所占百分比", "Packets missing after retransmission, %"),
    "rate": ("发布与送达", "Published and delivered"),
    "rate-note": ("每秒包数；送达为每间教室的平均值", "Packets per second; delivered is the mean per classroom"),
    "published": ("发布", "published"),
    "delivered": ("送达", "delivered"),
    "cpu": ("处理器", "CPU"),
    "cpu-note": ("100 % 为一个核", "100 % is one core"),
    "memory": ("内存", "Memory"),
    "memory-note": ("常驻内存，MB", "Resident, MB"),
    "server": ("服务器", "server"),
    "generator": ("负载发生器", "generator"),
    "seconds-axis": ("秒", "s"),
    "table": ("数字", "Figures"),
    "measure": ("指标", "measure"),
    "count": ("个数", "count"),
    "mean": ("平均", "mean"),
    "maximum": ("最大", "max"),
    "never-column": ("未达到", "never"),
    "row-joined": ("连接成功 ms", "connected, ms"),
    "row-first-packet": ("第一个包 ms", "first packet, ms"),
    "row-first-picture": ("第一个完整画面 ms", "first whole picture, ms"),
    "row-video": ("视频单向延迟 ms", "video one-way, ms"),
    "row-audio": ("声音单向延迟 ms", "audio one-way, ms"),
    "tile-classrooms": ("看到画面的教室", "classrooms watching"),
    "tile-first": ("首个画面 p95", "first picture p95"),
    "tile-latency": ("视频单向延迟 p99", "video one-way p99"),
    "tile-loss": ("丢包", "loss"),
    "tile-delivered": ("送达", "delivered"),
    "tile-keyframes": ("向老师要关键帧", "keyframe requests"),
    "errors": ("失败与掉线的原因", "Why classrooms failed or dropped"),
    "run": ("这次测试", "This run"),
    "counters": ("计数", "Counters"),
    "sent": ("发布端", "Publisher"),
    "honesty": (
        "百分位取所在区间的上沿（误差不超过 3.2 %），只会偏高，不会偏低。"
        "延迟从计划的采集时刻算起，发布端迟到也计入其中。",
        "Percentiles are the upper edge of their bucket (within 3.2 %): never better than the truth. Latency counts "
        "from the scheduled capture, so a late publisher is in it.",
    ),
    "name-whip": ("发布地址", "WHIP"),
    "name-whep": ("观看地址", "WHEP"),
    "name-classrooms": ("教室数", "classrooms"),
    "name-seconds": ("时长（秒）", "seconds"),
    "name-ramp": ("加入用时（秒）", "ramp, s"),
    "name-workers": ("发生器进程数", "generator processes"),
    "name-codec": ("编码", "codec"),
    "name-bitrate": ("填充到码率 bit/s", "filled to, bit/s"),
    "name-simulcast": ("多层发布", "simulcast"),
    "name-planned": ("计划教室数", "planned classrooms"),
    "name-joined": ("已连接", "connected"),
    "name-failed": ("失败", "failed"),
    "name-dropped": ("掉线", "dropped"),
    "name-receiving": ("收到第一个包", "got a first packet"),
    "name-with_picture": ("看到画面", "got a picture"),
    "name-packets": ("包数", "packets"),
    "name-bytes": ("字节数", "bytes"),
    "name-lost": ("丢失的包", "lost packets"),
    "name-recovered": ("重传找回", "recovered by RTX"),
    "name-reordered": ("乱序", "reordered"),
    "name-duplicates": ("重复", "duplicates"),
    "name-nacks": ("发出的重传请求", "NACKed packets"),
    "name-plis": ("发出的关键帧请求", "PLIs sent"),
    "name-opened": ("解密抽检", "decrypted samples"),
    "name-forged": ("解密失败", "failed to decrypt"),
    "name-frames": ("视频帧", "video frames"),
    "name-keyframe_requests": ("收到的关键帧请求", "keyframe requests"),
    "name-nacked": ("被要求重传的包", "packets NACKed"),
    "name-retransmitted": ("已重传", "retransmitted"),
    "name-skipped_frames": ("跳过的帧", "skipped frames"),
    "name-reconnects": ("重连次数", "reconnects"),
    "name-rtt_ms": ("往返时间 ms", "round trip, ms"),
    "nothing": ("没有数据", "no data"),
    "progress": ("{seconds:.0f} s", "{seconds:.0f} s"),
    "written": ("报告：{path}", "report: {path}"),
    "refused": ("服务器拒绝了发布端：{reason}", "the server refused the publisher: {reason}"),
}


def text(key: str, language: str, **values: object) -> str:
    """The text of ``key``; an unknown language reads English."""
    chinese, english = CATALOGUE[key]
    return (chinese if language.startswith("zh") else english).format(**values)


def spoken(environment: Mapping[str, str] = os.environ) -> Language:
    """The terminal's language, as POSIX orders the variables: Chinese where it is, else English."""
    locale = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "zh-CN" if locale.lower().startswith("zh") else "en"
