"""Every relative link and picture in the documents leads to a file that is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
DOCUMENTS = LISTED.stdout.split()


def test_there_are_documents() -> None:
    assert {"README.md", "ARCHITECTURE.md", "docs/protocol.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    file = ROOT / document
    targets = [link for link in LINK.findall(file.read_text(encoding="utf-8")) if "://" not in link]
    missing = [target for target in targets if not (file.parent / target).exists()]
    assert not missing
