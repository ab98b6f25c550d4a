"""A short talk and text encoders for the tests."""

from __future__ import annotations

from pathlib import Path

import transformers

from extract.contract import Item
from extract.encoders.text import Context, TextEncoder, TextParams
from pipeline.tables.schema import Utterance

TALK = [
    ("Ann", "You are late again!"),
    ("Bob", "I am so sorry."),
    ("Ann", "Are you really?"),
    ("Bob", "No."),
    ("Ann", "What now?"),
]


def encoder(folder: Path, past: int = 3, future: int = 0, tokens: int = 48, **params) -> TextEncoder:
    context = Context(past=past, future=future, tokens=tokens)
    return TextEncoder(TextParams(encoder="text", weights=str(folder), context=context, **params), Path())


def talk(turns=TALK) -> list[Utterance]:
    return [
        Utterance(f"u{i}", "d", i, speaker, "", text, "", None, None, "")
        for i, (speaker, text) in enumerate(turns)
    ]


def spelt(enc: TextEncoder, item: Item) -> str:
    """An item's tokens, with the turn's own words in brackets."""
    tokens = transformers.AutoTokenizer.from_pretrained(enc.params.weights).convert_ids_to_tokens(
        item.content["ids"]
    )
    begin, end = item.content["own"]
    tokens = [t.replace("Ġ", "_") for t in tokens]
    return " ".join([*tokens[:begin], "{", *tokens[begin:end], "}", *tokens[end:]])
