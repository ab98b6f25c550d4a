"""The report of `python -m extract status`: a stream's utterances by status, and what its encoder counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extract.contract import Encoder, Item
from extract.streams import encoder_of, stage_of
from pipeline.features import STATUSES, FeatureCache
from pipeline.params import FEATURES, Params
from pipeline.tables.schema import dialogues, read_utterances


def report(stream: str, params: Params, limit: int | None) -> Iterator[str]:
    """Yield the lines of a stream's report.

    Args:
        stream: its name in params.yaml.
        params: the params.
        limit: the largest number of utterances without features to list; None lists all.
    """
    path = FEATURES / f"{stream}.h5"
    if not path.exists():
        yield f"{stream}: not extracted yet; run `dvc repro {stage_of(stream, params)}`"
        return
    with FeatureCache(path) as cache:
        names, codes, remarks = cache.utterances, cache.status, cache.errors
        counts = ", ".join(f"{count} {status}" for status, count in cache.counts().items())
    yield f"{stream}: {len(names)} utterances: {counts}"
    if stream in params.extract:
        encoder = encoder_of(stream, params)
        yield from (f"  {line}" for line in encoder.counts(_items(encoder), remarks))
    failed = [i for i, code in enumerate(codes) if code]
    for i in failed[:limit]:
        yield f"  {names[i]}  {STATUSES[codes[i]]}  {remarks[i]}"
    if limit and len(failed) > limit:
        yield f"  and {len(failed) - limit} more; run `python -m extract status {stream}` for all"


def _items(encoder: Encoder[Any]) -> Iterator[Item]:
    for dialogue in dialogues(read_utterances()):
        for i in range(len(dialogue)):
            item = encoder.item(dialogue, i)
            if isinstance(item, Item):
                yield item
