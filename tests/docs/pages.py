"""The documentation's pages and their code blocks.

Every bash block has a comment in front of it that says how it is tested:

    <!-- run: PLACE -->       tests/docs/test_commands.py runs it there
    <!-- run by FILE -->      that test reads the block from the page and runs it
    <!-- not run: REASON -->
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pipeline.closure import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: where it is, the comment in front of it, its language and its text."""

    page: Path
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages that are in one of these languages; of all blocks without any."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            found.append(Block(page, line, match[1] or "", match[2], match[3]))
    return [block for block in found if not languages or block.language in languages]
