"""Every setting, defined once: its flag, variable and key come from the field's name, its meaning stands beside it.

``tls_cert`` is the flag ``--tls-cert``, the variable ``KONGZHONG_TLS_CERT`` and the key ``tls-cert`` of one TOML file.
``sources.py`` reads the three; ``options.py`` makes the flags. Texts are Chinese first, English second.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from server.app import values
from server.app.values import HostPort

Role = Literal["all", "signaling", "relay", "recorder"]

LOCAL_HTTP = HostPort("127.0.0.1", 8080)
ALL_MEDIA = HostPort("*", 8189)
LOCAL_CONTROL = HostPort("127.0.0.1", 0)  # any free port: its lease says which

SUN_PATH_MAX = 107
"""Bytes that the path of a Unix socket may have (sockaddr_un.sun_path, unix(7))."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting is for, and the promise that a reader may hold us to. Pairs are (Chinese, English)."""

    help: tuple[str, str]
    promise: tuple[str, str] = ("", "")
    parse: Callable[[str], Any] = values.word
    metavar: str = "TEXT"
    show: Callable[[str], str] | None = None  # for a reader, with secrets removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The effective settings. Times are seconds, sizes bytes."""

    data: Annotated[
        Path,
        Setting(
            help=("数据文件夹：密钥、数据库、录像", "folder of everything kept: secret, databases, recordings"),
            promise=("备份这一个文件夹就够了", "backing up this one folder is enough"),
            parse=values.path,
            metavar="DIR",
        ),
    ] = Path("data")
    http: Annotated[
        HostPort,
        Setting(
            help=("网页、接口和指标的地址", "address of pages, API and metrics"),
            promise=("缺省只有本机能打开", "by default nobody but this machine gets in"),
            parse=values.host_port,
            metavar="HOST:PORT",
        ),
    ] = LOCAL_HTTP
    media: Annotated[
        HostPort,
        Setting(
            help=("所有媒体共用的一个 UDP 端口；* 表示全部地址", "the one UDP port of all media; * is every address"),
            promise=("防火墙只需放行这一个 UDP 端口", "a firewall opens this one UDP port and no other"),
            parse=values.host_port,
            metavar="HOST:PORT",
        ),
    ] = ALL_MEDIA
    announce: Annotated[
        tuple[str, ...],
        Setting(
            help=(
                "告诉客户端的媒体 IP（可重复；在 NAT 之后时需要）",
                "IP told to clients for media (repeatable; needed behind NAT)",
            ),
            promise=("缺省为本机各网卡的地址", "by default the addresses of this machine's interfaces"),
            parse=values.ip_address,
            metavar="IP",
        ),
    ] = ()
    tls: Annotated[
        Literal["auto", "off"],
        Setting(
            help=("auto：自签名证书，保存在数据文件夹", "auto: a self-signed certificate kept in the data folder"),
            promise=(
                "校园网内的摄像头可用：浏览器只在 HTTPS 下开放摄像头",
                "cameras work across a school's LAN: browsers want HTTPS for them",
            ),
        ),
    ] = "off"
    tls_cert: Annotated[
        Path | None,
        Setting(
            help=("证书链（PEM）", "certificate chain (PEM)"),
            promise=("与私钥不符时拒绝启动", "a pair that does not match stops the start"),
            parse=values.path,
            metavar="FILE",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, Setting(help=("私钥（PEM）", "private key (PEM)"), parse=values.path, metavar="FILE")
    ] = None
    role: Annotated[
        Role,
        Setting(
            help=(
                "本进程承担的角色；缺省一个进程树承担全部",
                "what this process does; by default one process tree does all",
            ),
            promise=("all 不需要任何外部服务", "all needs no service beside it"),
        ),
    ] = "all"
    redis: Annotated[
        str | None,
        Setting(
            help=("分角色运行时的 Redis", "Redis that joins the roles"),
            promise=(
                "Redis 断开时，进行中的课照常，也能照常加入",
                "Redis gone: lessons that run go on, joins to them too",
            ),
            parse=values.redis_url,
            metavar="URL",
            show=values.without_password,
        ),
    ] = None
    tap: Annotated[
        str | None,
        Setting(
            help=(
                "录制进程的监听地址（缺省 unix:DATA/run/tap.sock）",
                "where the recorder listens (default unix:DATA/run/tap.sock)",
            ),
            promise=("录制进程重启不影响上课", "a recorder that restarts never disturbs the lesson"),
            parse=values.tap_address,
            metavar="unix:PATH|tcp:HOST:PORT",
        ),
    ] = None
    control: Annotated[
        HostPort,
        Setting(
            help=(
                "中继的直连控制端口（TCP），Redis 断开时使用",
                "a relay's direct control port (TCP), used when Redis is gone",
            ),
            promise=("双方都要用教育局密钥证明身份", "both ends prove that they know the bureau's secret"),
            parse=values.host_port,
            metavar="HOST:PORT",
        ),
    ] = LOCAL_CONTROL
    advertise: Annotated[
        str | None,
        Setting(
            help=(
                "其他机器用来连接本进程控制端口和录制端口的主机名",
                "host name by which other machines reach control port and tap",
            ),
            parse=values.word,
            metavar="HOST",
        ),
    ] = None
    secret_file: Annotated[
        Path | None,
        Setting(
            help=(
                "教育局密钥文件（缺省 DATA/token-secret，首次启动时生成）",
                "file of the bureau's secret (default DATA/token-secret, made at the first start)",
            ),
            promise=("各角色必须相同；从不出现在日志里", "the same for all roles; never in a log"),
            parse=values.path,
            metavar="FILE",
        ),
    ] = None
    capacity: Annotated[
        int,
        Setting(
            help=("本中继最多的连接数", "connections this relay takes at most"),
            promise=("满员时明确拒绝，不拖累已在课上的教室", "full is said clearly; nobody already in class suffers"),
            parse=values.count,
            metavar="N",
        ),
    ] = 2000
    lease: Annotated[
        float,
        Setting(
            help=("登记在 Redis 中的有效期（秒）", "how long a registration in Redis lives without renewal (seconds)"),
            promise=("失联的中继在此时间内不再接新课", "a lost relay gets no new lesson after this time"),
            parse=values.seconds,
            metavar="SECONDS",
        ),
    ] = 5.0
    away: Annotated[
        float,
        Setting(
            help=(
                "老师离开多久后自动下课（秒）",
                "a lesson ends by itself when its teacher has been gone this long (seconds)",
            ),
            promise=("短暂掉线不会下课", "a line that drops for a moment ends no lesson"),
            parse=values.seconds,
            metavar="SECONDS",
        ),
    ] = 600.0
    cors: Annotated[
        tuple[str, ...],
        Setting(
            help=(
                "允许调用 WHIP/WHEP 和接口的网页来源（可重复）",
                "origins of other pages that may call WHIP, WHEP and API (repeatable)",
            ),
            promise=("缺省只允许本站页面", "by default our own pages only"),
            parse=values.origin,
            metavar="ORIGIN",
        ),
    ] = ()
    ice_server: Annotated[
        tuple[str, ...],
        Setting(
            help=(
                "经 Link 头告知客户端的 STUN/TURN(可重复)",
                "STUN or TURN told to clients in Link headers (repeatable)",
            ),
            parse=values.ice_server,
            metavar="URL",
        ),
    ] = ()
    turn_secret_file: Annotated[
        Path | None,
        Setting(
            help=(
                "与 TURN 服务器共用的密钥文件（即 coturn 的 static-auth-secret）",
                "secret shared with the TURN server, in a file",
            ),
            promise=("每次连接都签发临时凭据", "credentials are made for each connection and expire"),
            parse=values.path,
            metavar="FILE",
        ),
    ] = None
    token_ttl: Annotated[
        float,
        Setting(
            help=("令牌有效期（秒）", "how long a token holds (seconds)"),
            promise=("缺省为一个教学日", "by default a school day"),
            parse=values.seconds,
            metavar="SECONDS",
        ),
    ] = 12 * 3600.0
    log_format: Annotated[Literal["text", "json"], Setting(help=("日志格式", "format of log lines"))] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting(
            help=("日志级别", "least level that is logged"),
            promise=("任何级别都不含令牌和密钥", "no token and no secret at any level"),
        ),
    ] = "info"

    @property
    def base_url(self) -> str:
        """Our own HTTP address as a client on this machine writes it."""
        scheme = "https" if self.secure else "http"
        host = self.http.host if not self.http.everywhere else "127.0.0.1"
        return f"{scheme}://{HostPort(host, self.http.port)}"

    @property
    def secure(self) -> bool:
        return self.tls == "auto" or self.tls_cert is not None

    @property
    def tap_address(self) -> str:
        """The tap's address. A data folder too deep for a Unix socket's path gets a socket in the temp folder."""
        if self.tap:
            return self.tap
        socket = (self.data / "run" / "tap.sock").absolute()
        if len(os.fsencode(socket)) <= SUN_PATH_MAX:
            return f"unix:{socket}"
        name = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
        return f"unix:{Path(tempfile.gettempdir()) / f'kongzhong-{os.getuid()}-{name}' / 'tap.sock'}"


@dataclass(frozen=True, slots=True)
class Field:
    """A setting with the three names that its field's name gives it."""

    name: str
    setting: Setting
    default: Any
    kind: Literal["text", "number"]
    choices: tuple[str, ...]
    repeatable: bool

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        return f"KONGZHONG_{self.name.upper()}"

    def parse(self, text: str) -> Any:
        """:raises ValueError: with what was wanted instead."""
        if self.choices:
            if text not in self.choices:
                raise ValueError(f"wanted one of {', '.join(self.choices)}")
            return text
        return self.setting.parse(text)

    def shown(self, value: Any) -> str:
        """The value for a reader, without what is secret."""
        if value is None or value == ():
            return "-"
        texts = [str(v) for v in value] if self.repeatable else [str(value)]
        return " ".join(self.setting.show(t) if self.setting.show else t for t in texts)


@cache
def all_fields() -> dict[str, Field]:
    """Every setting by its field's name, in the order of the definition."""
    hints = get_type_hints(Config, include_extras=True)
    found = {}
    for entry in fields(Config):
        kind, setting = get_args(hints[entry.name])[:2]
        found[entry.name] = Field(
            name=entry.name,
            setting=setting,
            default=entry.default,
            kind="number" if kind in (int, float) else "text",
            choices=get_args(kind) if get_origin(kind) is Literal else (),
            repeatable=get_origin(kind) is tuple and kind is not HostPort,
        )
    return found
