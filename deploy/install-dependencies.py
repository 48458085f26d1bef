"""Installs what pyproject.toml lists, at the versions of constraints.txt, without our own code: a layer that stays."""

import subprocess
import sys
import tomllib
from pathlib import Path

wanted = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
requirements = wanted["project"]["dependencies"]
command = [sys.executable, "-m", "pip", "install", "--constraint", "constraints.txt", *requirements]
raise SystemExit(subprocess.call(command))
