"""What the terminal says, in both languages: one catalogue. Pages have their own; logs are English for grep's sake."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Language = Literal["zh", "en"]

Text = tuple[str, str]
"""Chinese and English, in this order."""

CATALOGUE: dict[str, Text] = {
    "serve": ("启动服务", "start the product"),
    "serve.demo": ("同时开一节演示课", "hold a demo lesson as well"),
    "demo": ("无人值守地走完一节课并核对结果", "hold one whole lesson without a person, and check what came of it"),
    "demo.seconds": ("演示课时长（秒）", "length of the lesson in seconds"),
    "token": ("签发令牌（只输出令牌）", "print a token and nothing else"),
    "token.lesson": ("课的编号；ops 可用 *", "id of the lesson; * for ops"),
    "token.role": ("角色", "role"),
    "token.seat": ("席位名（教室或老师）", "name of the seat (a classroom or a teacher)"),
    "token.ttl": ("有效期（秒）", "seconds until it expires"),
    "token.unknown": ("没有编号为 {lesson} 的课", "there is no lesson {lesson}"),
    "lesson": ("创建、列出或结束课", "create, list or end lessons"),
    "lesson.create": ("创建一节课（只输出编号）", "create a lesson; prints its id and nothing else"),
    "lesson.title": ("课的标题", "title of the lesson"),
    "lesson.list": ("列出所有课", "list all lessons"),
    "lesson.end": ("请运行中的服务下课", "ask the running server to end a lesson"),
    "loadtest": ("用虚拟教室给任意 WHIP/WHEP 服务加压", "drive any WHIP/WHEP server with virtual classrooms"),
    "bench": ("测量并打印性能比值", "measure, and print ratios"),
    "bench.what": ("测什么", "what"),
    "bench.found": ("测得", "found"),
    "bench.goal": ("目标", "goal"),
    "bench.ratio": (
        "与裸 sendmmsg 之比（{count} 间教室，同样节奏）",
        "of the sendmmsg floor, {count} classrooms, same pace",
    ),
    "bench.flat": ("同上，裸 sendmmsg 全速时", "of the floor sent flat out"),
    "bench.cost": ("每包 CPU：整个进程 / 下限", "CPU per forwarded packet: whole process / floor"),
    "bench.rate": ("转发速率", "packets forwarded"),
    "bench.transit": ("中继转发时间 p99", "relay transit p99"),
    "bench.lost": ("丢失的包", "packets lost"),
    "bench.join": (
        "每次加入的 CPU(HTTP、令牌、SDP、ICE、DTLS 全算)",
        "CPU per join (HTTP, SDP, ICE, DTLS and all)",
    ),
    "bench.memory": ("每间教室的内存", "memory per subscriber"),
    "bench.bell": ("{count} 间教室同时加入后在播放的", "playing after {count} classrooms joined at once"),
    "bench.first": ("首帧 p50 / p95", "first frame p50 / p95"),
    "bench.asked": ("期间向老师要的关键帧", "keyframes asked of the teacher meanwhile"),
    "bench.recorder": ("录制一节 720p 课所占 CPU 核", "recorder's share of a core, one 720p lesson"),
    "bench.chromium": ("Chromium：打开页面到首帧", "Chromium: page opened to first frame"),
    "recover": ("收尾被中断的录制", "finish what a killed recorder left behind"),
    "config": ("列出生效的设置、来源与承诺", "list the effective settings, their origin and the promise behind each"),
    "config.file": ("TOML 配置文件（缺省 DATA/kongzhong.toml）", "TOML file (default DATA/kongzhong.toml)"),
    "config.setting": ("设置", "setting"),
    "config.value": ("值", "value"),
    "config.origin": ("来源", "origin"),
    "config.promise": ("承诺", "promise"),
    "links": ("打开这些页面", "open these pages"),
    "links.teacher": ("老师", "teacher"),
    "links.classroom": ("教室", "classroom"),
    "links.library": ("课程库", "library"),
    "links.ops": ("运维", "ops"),
    "demo.lesson": ("演示课：空中课堂", "Demo lesson: Kongzhong"),
    "demo.self-signed": (
        "证书是自签名的：浏览器会先提示，确认后继续",
        "the certificate is self-signed: the browser warns once; go on",
    ),
    "display.lesson": ("课", "lesson"),
    "display.running": ("已进行", "running for"),
    "display.teacher": ("老师", "teacher"),
    "display.classroom": ("教室", "classroom"),
    "display.state": ("状态", "state"),
    "display.layer": ("清晰度层", "layer"),
    "display.latency": ("单向延迟", "one-way latency"),
    "display.frames": ("帧", "frames"),
    "display.loss": ("丢包", "loss"),
    "display.recording": ("录制", "recording"),
    "display.lag": ("滞后", "lag"),
    "display.gaps": ("缺口", "gaps"),
    "display.join": ("首帧", "first frame"),
    "display.stop": ("按 Ctrl-C 停止", "Ctrl-C stops"),
    "state.watching": ("观看中", "watching"),
    "state.connecting": ("连接中", "connecting"),
    "state.live": ("直播中", "sending"),
    "state.stopped": ("已停止", "stopped"),
    "state.waiting": ("等待中", "waiting"),
    "state.recording": ("录制中", "recording"),
    "state.buffering": ("录制进程暂缺，正在缓冲", "no recorder now, buffering"),
    "state.failing": ("录制出错", "failing"),
    "report.title": ("演示课结果", "what came of the lesson"),
    "report.check": ("项目", "check"),
    "report.found": ("结果", "found"),
    "report.wanted": ("要求", "wanted"),
    "report.ok": ("全部完整", "everything is there"),
    "report.missing": ("有缺失", "something is missing"),
    "stopping": (
        "正在停止：录像收尾中，再按一次强制停止",
        "stopping: recordings are finished first; again to force",
    ),
}


def language(environment: Mapping[str, str] | None = None) -> Language:
    """The terminal's language: Chinese where the locale says so, else English (which every terminal can show)."""
    env = os.environ if environment is None else environment
    locale = env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    return "zh" if locale.startswith("zh") else "en"


def pick(text: Text, chosen: Language | None = None) -> str:
    return text[0 if (chosen or language()) == "zh" else 1]


def say(key: str, chosen: Language | None = None) -> str:
    return pick(CATALOGUE[key], chosen)
