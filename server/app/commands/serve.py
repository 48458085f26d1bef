"""``kongzhong serve``: the product, all of it or one role of it."""

from __future__ import annotations

import click

from server.app import logs
from server.app.options import die, settings
from server.app.sources import Loaded
from server.app.texts import say


@click.command("serve", help=say("serve"))
@click.option("--demo", is_flag=True, help=say("serve.demo"))
@settings()
def command(loaded: Loaded, demo: bool) -> None:
    from server.app.serve import run

    if demo and (loaded.config.role != "all" or loaded.config.tls_cert):
        die("the demo needs role all, and no certificate of your own (tls auto or off)")
    logs.set_up(loaded.config.log_format, loaded.config.log_level)
    raise SystemExit(run(loaded.config, demo=demo))
