"""The recorder as a child of ``kongzhong serve``: ``python -m server.app.recorder_child PARENT DATA TAP ...``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from recorder.service import run
from server.app import folder, logs
from server.app.addresses import tap_to_listen
from server.app.config import Config
from server.app.folder import FolderError
from server.app.options import die
from server.app.supervise import die_with


def main() -> None:
    parent, data, tap, secret_file, log_format, log_level = sys.argv[1:]
    die_with(int(parent))
    logs.set_up(log_format, log_level)
    config = Config(data=Path(data), tap=tap, secret_file=Path(secret_file) if secret_file else None)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(config.data, tap_to_listen(config), folder.bureau_secret(config)))
    except (FolderError, OSError) as error:
        die(f"recorder: {error}")


if __name__ == "__main__":
    main()
