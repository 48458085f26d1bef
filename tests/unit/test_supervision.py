"""Child processes: started again with back-off, stopped with grace, killed after it, and never orphans."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from server.app.limits import RESTART_FIRST, RESTART_MOST, RESTART_SETTLED
from server.app.supervise import Backoff, Child, StopSignals
from tests.support.waiting import until

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_back_off_grows_to_its_bound_and_forgets_after_a_healthy_life() -> None:
    backoff = Backoff()
    pauses = [backoff.after(lived=0.1) for _ in range(8)]
    assert pauses[0] == RESTART_FIRST
    assert pauses == sorted(pauses) and pauses[-1] == RESTART_MOST
    assert backoff.after(lived=RESTART_SETTLED) == RESTART_FIRST


async def test_a_killed_child_is_started_again() -> None:
    child = Child("sleeper", python(SLEEP))
    await child.start()
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.restarts == 1 and child.pid not in (None, first))
    await child.stop()
    assert child.pid is None


async def test_stop_ends_the_child_and_does_not_start_it_again() -> None:
    child = Child("sleeper", python(SLEEP))
    await child.start()
    pid = child.pid
    await child.stop()
    assert pid and not alive(pid)
    assert child.restarts == 0
    await child.stop()


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = Child("stubborn", python(STUBBORN))
    await child.start()
    pid = child.pid
    assert pid
    await until(lambda: "python" in Path(f"/proc/{pid}/cmdline").read_text())
    await child.stop(grace=0.3)
    assert not alive(pid)


async def test_an_exit_code_that_gives_up_is_told_and_not_tried_again() -> None:
    child = Child("misconfigured", python("raise SystemExit(2)"), gives_up=frozenset({2}))
    await child.start()
    assert await asyncio.wait_for(child.fatal, 30) == 2
    assert child.restarts == 0
    await child.stop()


async def test_a_child_says_what_it_says_into_the_file_it_was_given(tmp_path: Path) -> None:
    child = Child("talker", python("import sys; print('trouble', file=sys.stderr)"), stderr=tmp_path / "log")
    await child.start()
    await until(lambda: (tmp_path / "log").read_text().startswith("trouble"))
    await child.stop()


async def test_a_child_dies_with_its_parent_however_that_goes() -> None:
    grandchild = "import os, sys, time; from server.app.supervise import die_with; die_with(int(sys.argv[1])); "
    grandchild += "print(os.getpid(), flush=True); time.sleep(600)"
    parent = (
        "import os, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}, str(os.getpid())]); time.sleep(600)"
    )
    process = await asyncio.to_thread(subprocess.Popen, python(parent), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(await asyncio.to_thread(process.stdout.readline))
    assert alive(pid)
    process.kill()
    process.wait(10)
    process.stdout.close()
    with contextlib.suppress(FileNotFoundError):  # its /proc entry may go while we look
        await until(lambda: not alive(pid))


async def test_a_child_that_cannot_be_started_for_a_while_is_started_later(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.symlink_to(sys.executable)
    child = Child("sleeper", [str(program), "-c", SLEEP])
    await child.start()
    first = child.pid
    assert first
    program.unlink()
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.restarts == 1)
    program.symlink_to(sys.executable)
    await until(lambda: child.pid not in (None, first))
    await child.stop()


async def test_a_closed_terminal_asks_for_a_graceful_stop() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
    signals = StopSignals()
    signals.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(10):
        await signals.asked.wait()
    assert not signals.forced.is_set()
