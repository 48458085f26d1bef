"""What each role is made of. ``all`` is the three of them in one process tree, without Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable

from recorder.library.catalog import Catalog
from recorder.library.http import LibraryRoutes
from recorder.library.openapi import RESOURCE, openapi_paths
from recorder.service import RecorderService
from server.app import folder
from server.app.addresses import reachable_host, tap_to_advertise, tap_to_listen
from server.app.config import Role
from server.app.health import Check
from server.app.library_port import CatalogArchive, grants
from server.app.limits import RECORDER_PATIENCE
from server.app.metrics import BusCollector, NodeCollector, PlaneCollector, RecorderCollector
from server.app.options import BAD_START
from server.app.parts import Parts
from server.app.startup import StartError, port_error
from server.app.supervise import Child
from server.bus.directory import RedisDirectory
from server.bus.recorder_registration import RecorderRegistration
from server.bus.redis_link import RedisLink
from server.bus.registry import Registry
from server.bus.relay_service import RelayService
from server.media.reference.plane import ReferencePlane
from server.node.addresses import candidate_addresses
from server.node.local import LocalDirectory
from server.node.node import RelayNode
from signaling.relay import RecorderRef, RelayDirectory
from signaling.service import Signaling
from signaling.settings import SignalingSettings
from signaling.store import LessonStore, StoreError
from signaling.tokens import Tokens
from web import pages

log = logging.getLogger(__name__)


async def everything(parts: Parts) -> None:
    child = await _recorder_child(parts)
    node = await _relay(parts)
    parts.health.add("recorder", lambda: _recorder_standing(child, node))
    await _class(parts, LocalDirectory(node, RecorderRef(parts.config.tap_address)))
    await _recorder_listens(child, parts.config.tap_address)


async def signaling(parts: Parts) -> None:
    link, registry = await _bus(parts)
    directory = RedisDirectory(link, registry, parts.secret)
    parts.collect(BusCollector(link, directory.figures))
    await directory.start()
    parts.stack.push_async_callback(directory.stop)
    parts.health.add("relays", lambda: Check("ok" if directory.relays else "down", f"{len(directory.relays)} known"))
    parts.health.add(
        "recorders", lambda: Check("ok" if directory.recorders else "degraded", f"{len(directory.recorders)} known")
    )
    await _class(parts, directory)


async def relay(parts: Parts) -> None:
    config = parts.config
    node = await _relay(parts)
    link, registry = await _bus(parts)
    service = RelayService(
        node,
        lambda: (node.stats().connections, config.capacity),
        link,
        registry,
        parts.secret,
        reachable_host(config, config.control),
    )
    parts.collect(BusCollector(link, service.figures))
    try:
        await service.start(None if config.control.host == "*" else config.control.host, config.control.port)
    except OSError as error:
        raise port_error("control", config.control, error) from error
    parts.stack.push_async_callback(service.stop)
    log.info("control at %s", service.control)


async def recorder(parts: Parts) -> None:
    config = parts.config
    link, registry = await _bus(parts)
    service = RecorderService(config.data, tap_to_listen(config), parts.secret)
    try:
        await service.start()
    except OSError as error:
        raise port_error("tap", config.tap_address, error) from error
    parts.stack.push_async_callback(service.stop)
    parts.collect(RecorderCollector(lambda: {"self": service.stats()}))
    parts.collect(BusCollector(link, dict))
    registration = RecorderRegistration(
        link, registry, tap_to_advertise(config), lambda: int(service.stats().get("lessons", 0)), config.capacity
    )
    await registration.start()
    parts.stack.push_async_callback(registration.stop)


BUILDERS: dict[Role, Callable[[Parts], Awaitable[None]]] = {
    "all": everything,
    "signaling": signaling,
    "relay": relay,
    "recorder": recorder,
}


async def _relay(parts: Parts) -> RelayNode:
    config = parts.config
    try:
        plane = await ReferencePlane.open(config.media.host, config.media.port)
    except OSError as error:
        raise port_error("media", config.media, error) from error
    parts.stack.push_async_callback(plane.close)
    bound = "" if config.media.everywhere else config.media.host
    node = RelayNode(
        plane,
        addresses=lambda: candidate_addresses(bound, config.announce),
        tap_secret=parts.secret,
        capacity=config.capacity,
    )
    parts.stack.push_async_callback(node.shut_down)
    parts.collect(PlaneCollector(plane.stats))
    parts.collect(NodeCollector(node.stats))
    parts.collect(RecorderCollector(node.recorder_stats))
    parts.health.add("plane", lambda: Check("ok", f"udp port {plane.port}"))
    return node


async def _class(parts: Parts, directory: RelayDirectory) -> None:
    """Signaling, library and pages: all that a browser asks."""
    config = parts.config
    parts.directory = directory
    try:
        lessons = LessonStore(folder.lessons_file(config.data))
        catalog = Catalog(folder.catalog_file(config.data))
    except (StoreError, OSError) as error:
        raise StartError(str(error)) from error
    parts.stack.callback(catalog.close)
    parts.stack.callback(lessons.close)
    settings = SignalingSettings(
        away=config.away,
        cors=config.cors,
        ice_servers=config.ice_server,
        turn_secret=folder.turn_secret(config),
        token_ttl=int(config.token_ttl),
    )
    try:
        service = Signaling(
            directory=directory,
            lessons=lessons,
            tokens=Tokens(parts.secret),
            archive=CatalogArchive(catalog, folder.archive_folder(config.data)),
            settings=settings,
            registry=parts.registry,
        )
    except ValueError as error:
        raise StartError(str(error)) from error
    service.routes(parts.app, extra_paths=openapi_paths(), extra_schemas={"Resource": RESOURCE})
    library = LibraryRoutes(catalog, folder.archive_folder(config.data), grants(service.authorize), parts.secret)
    library.routes(parts.app)
    pages.add_routes(parts.app)
    await service.start()
    parts.stack.push_async_callback(service.stop)
    parts.health.add("class", lambda: Check("down" if service.ready() else "ok", "; ".join(service.ready())))


async def _bus(parts: Parts) -> tuple[RedisLink, Registry]:
    config = parts.config
    if config.redis is None:
        raise StartError(f"role {config.role} needs redis")
    link = RedisLink(config.redis)
    await link.start()
    parts.stack.push_async_callback(link.stop)
    parts.health.add("redis", lambda: _redis_standing(link))
    return link, Registry(link, config.lease)


async def _recorder_child(parts: Parts) -> Child:
    config = parts.config
    command = [sys.executable, "-m", "server.app.recorder_child", str(os.getpid()), str(config.data)]
    command += [config.tap_address, str(config.secret_file or ""), config.log_format, config.log_level]
    child = Child("recorder", command, gives_up=frozenset({BAD_START}), stderr=parts.child_stderr)
    await parts.supervise(child)
    return child


async def _recorder_listens(child: Child, address: str) -> None:
    """Come back when the recorder takes taps, so that the first lesson is recorded from its first packet. One that
    takes long delays nobody: the relay's queue waits for it.

    :raises StartError: it gave up; its own line on stderr says why
    """
    kind, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    deadline = time.monotonic() + RECORDER_PATIENCE
    while time.monotonic() < deadline:
        if child.fatal.done():
            raise StartError("the recorder cannot start")
        with contextlib.suppress(OSError):
            if kind == "unix":
                _, writer = await asyncio.open_unix_connection(rest)
            else:
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            return
        await asyncio.sleep(0.02)
    log.error("the recorder does not listen at %s yet", address)


def _redis_standing(link: RedisLink) -> Check:
    """Away is no reason to be taken out of service: joins go on over direct lines. Never seen is."""
    if not link.away.is_set():
        return Check("ok")
    return Check("degraded", "away") if link.seen else Check("down", "never reached")


def _recorder_standing(child: Child, node: RelayNode) -> Check:
    """A lesson runs without a recorder, so its absence is said but refuses nobody."""
    known = node.recorder_stats().values()
    if child.pid is None or (known and not any(stats.get("tap_connected") for stats in known)):
        return Check("degraded", "no recorder")
    return Check("ok")
