"""``python -m recorder --data DIR --tap ADDRESS``: the recorder as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from recorder.service import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="recorder", description="Record the lessons of one or more relays.")
    parser.add_argument("--data", type=Path, required=True, help="data folder; recordings go to DIR/archive")
    parser.add_argument("--tap", required=True, metavar="ADDRESS", help="unix:/path or tcp:host:port")
    parser.add_argument("--secret-file", type=Path, help="file with the bureau's secret, needed with tcp:")
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        secret = options.secret_file.read_bytes().strip() if options.secret_file else b""
        if not secret:
            secret = os.environ.get("KONGZHONG_TAP_SECRET", "").encode()
        if options.tap.startswith("tcp:") and not secret:
            print("recorder: tcp: needs --secret-file or KONGZHONG_TAP_SECRET", file=sys.stderr)
            return 2
        asyncio.run(run(options.data, options.tap, secret))
    except OSError as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
