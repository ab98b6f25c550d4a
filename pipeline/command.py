"""Make the command-line parsers; a module's docstring is the help text of its command."""

from __future__ import annotations

import argparse


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for `python -m NAME` whose `--help` shows `doc`."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
