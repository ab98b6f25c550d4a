"""The command line of every `python -m …`: its module's docstring is its help, as it stands."""

from __future__ import annotations

import argparse


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for `python -m NAME` whose `--help` shows `doc`."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
