"""The plan of an extraction: which items the utterances have, which are missing, and in which batches they are done."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from extract.contract import Encoder, Failure, Item
from extract.engine.journal import Journal
from pipeline.errors import UserError
from pipeline.tables.schema import Utterance, dialogues


@dataclass(frozen=True, slots=True)
class _Place:
    """What the plan keeps of an utterance's item, because the items of a large corpus do not fit in memory.

    Attributes:
        first: row of the first utterance of its dialogue.
        last: row after the last utterance of its dialogue.
        key: `Item.key`; empty if there is no item.
        length: `Item.length`.
        note: `Item.note`.
        failure: why there is no item, or None.
    """

    first: int
    last: int
    key: str = ""
    length: int = 0
    note: str = ""
    failure: Failure | None = None


class Plan:
    """The items of all utterances, in table order. `len` is the number of utterances."""

    def __init__(self, encoder: Encoder[Any], utterances: Sequence[Utterance]) -> None:
        self.encoder, self.utterances = encoder, utterances
        self.places: list[_Place] = []
        for dialogue in dialogues(utterances):
            first, last = len(self.places), len(self.places) + len(dialogue)
            for i in range(len(dialogue)):
                item = encoder.item(dialogue, i)
                if isinstance(item, Item):
                    self.places.append(_Place(first, last, item.key, item.length, item.note))
                else:
                    self.places.append(_Place(first, last, failure=item))

    def __len__(self) -> int:
        return len(self.utterances)

    def missing(self, journal: Journal) -> list[int]:
        """Return the rows whose items are not in the journal. Of several rows with one item, return the first."""
        first: dict[str, int] = {}
        for i, place in enumerate(self.places):
            if place.key:
                first.setdefault(place.key, i)
        known = journal.known(first)
        return [i for key, i in first.items() if key not in known]

    def batches(self, rows: Sequence[int]) -> list[list[int]]:
        """Return the rows in batches of items of equal length. An item of unknown length (0) is a batch of its own.

        The batches are shuffled. So the estimate of the time left is accurate, and two processes that extract the same
        stream share the work. No feature depends on the order.
        """
        batches: list[list[int]] = []
        for i in sorted(rows, key=lambda i: self.places[i].length):
            length = self.places[i].length
            last = batches[-1] if batches else []
            if (
                last
                and length
                and length == self.places[last[0]].length
                and len(last) < self.encoder.batch_size
            ):
                last.append(i)
            else:
                batches.append([i])
        random.shuffle(batches)
        return batches

    def item(self, i: int) -> Item:
        """Return the item of row `i`.

        Raises:
            UserError: the encoder is not deterministic; its item differs from the planned one.
        """
        place = self.places[i]
        item = self.encoder.item(self.utterances[place.first : place.last], i - place.first)
        if not isinstance(item, Item) or item.key != place.key:
            raise UserError(
                f"{self.encoder.params.encoder}: `item` returned two different items for utterance "
                f"{self.utterances[i].utterance}; change the encoder so that `item` depends on its arguments and "
                "params only"
            )
        return item
