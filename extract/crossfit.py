"""Extract with cross-fitted encoders, so that no train utterance is encoded by weights that were fitted to it.

`finetune.NAME.training.crossfit: K` deals the train dialogues into K parts. weights/NAME/withoutk holds an encoder that
was fine-tuned without part k and encodes that part. The encoder in weights/NAME was fine-tuned on all of train and
encodes every other utterance. So the fusion model trains on vectors of the kind that it gets at test time: vectors of
utterances that the encoder did not see (Chernozhukov et al., 2018, https://doi.org/10.1111/ectj.12097, section 3).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from extract.contract import Encoder, Failure, Features, Item
from extract.networks.weights import RECORD, content_hash
from pipeline.errors import UserError
from pipeline.params import StreamParams

WHOLE = 0


@dataclass(frozen=True)
class Part:
    """One part of the train dialogues, and the encoder that was fine-tuned without it.

    Attributes:
        sha256: the content hash of the encoder's folder.
        dialogues: the ids of the part's dialogues.
    """

    sha256: str
    dialogues: list[str]


def without(k: int | str) -> str:
    """Return the name of the folder of the encoder that did not see part `k` = 1 … K; with `*` a pattern for all."""
    return f"without{k}"


def read_parts(folder: Path) -> list[Part]:
    """Return the parts of the fine-tuned weights in `folder`; an empty list if they are not cross-fitted.

    Raises:
        UserError: the record is damaged, or the weights of a part are missing or not those of the record.
    """
    record = folder / RECORD
    try:
        parts = [Part(**one) for one in json.loads(record.read_text(encoding="utf-8")).get("crossfit", [])]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{record}: damaged ({error!r}); fine-tune the encoder again") from None
    for k, part in enumerate(parts, 1):
        place = folder / without(k)
        if not place.is_dir() or content_hash(place) != part.sha256:
            raise UserError(
                f"{place}: missing, or not the weights that {record} names; run `dvc pull` for the whole folder, or "
                "fine-tune the encoder again"
            )
    return parts


class CrossfitEncoder(Encoder[StreamParams]):
    """The encoder of a cross-fitted stream: it selects the weights by the utterance's dialogue.

    The item of a train utterance names its part. All other items, and the fingerprint, are those of the encoder that
    was fine-tuned on all of train; its weights' hash covers the record, which has the hashes of the other weights.

    Args:
        whole: the encoder that was fine-tuned on all of train.
        others: the encoders that were fine-tuned without part 1 … K.
        parts: the K parts.
    """

    def __init__(self, whole: Encoder[Any], others: Sequence[Encoder[Any]], parts: Sequence[Part]) -> None:
        super().__init__(whole.params, whole.media)
        self.modality = whole.modality  # type: ignore[misc]  # a class attribute of every other encoder
        self.batch_size = whole.batch_size
        self._encoders = [whole, *others]
        self._part_of = {dialogue: k for k, part in enumerate(parts, 1) for dialogue in part.dialogues}

    @property
    def _whole(self) -> Encoder[Any]:
        return self._encoders[WHOLE]

    @property
    @override
    def pooled_dim(self) -> int:
        return self._whole.pooled_dim

    @property
    @override
    def frames_dim(self) -> int:
        return self._whole.frames_dim

    @override
    def weights(self) -> dict[str, str]:
        return self._whole.weights()

    @override
    def weights_saw(self) -> dict[str, Any] | None:
        """Return what all encoders together saw, and the number of parts as `crossfit`."""
        return {**(self._whole.weights_saw() or {}), "crossfit": len(self._encoders) - 1}

    @override
    def packages(self) -> tuple[str, ...]:
        return self._whole.packages()

    @override
    def sources(self) -> frozenset[str]:
        return self._whole.sources()

    @override
    def item(self, dialogue: Sequence[Any], i: int) -> Item | Failure:
        item = self._whole.item(dialogue, i)
        k = self._part_of.get(dialogue[i].dialogue, WHOLE)
        if isinstance(item, Failure) or k == WHOLE:
            return item
        return replace(item, content={"without": k, "content": item.content})

    @override
    def read(self, item: Item) -> Any | Failure:
        """Return (number of the encoder, the result of its `read`)."""
        k = item.content.get("without", WHOLE)
        own = replace(item, content=item.content["content"]) if k != WHOLE else item
        value = self._encoders[k].read(own)
        return value if isinstance(value, Failure) else (k, value)

    @override
    def encode(self, inputs: Sequence[tuple[int, Any]]) -> list[Features | Failure]:
        found: dict[int, Features | Failure] = {}
        for k, encoder in enumerate(self._encoders):
            chosen = [i for i, (number, _) in enumerate(inputs) if number == k]
            if chosen:
                values = encoder.encode([inputs[i][1] for i in chosen])
                found |= dict(zip(chosen, values, strict=True))
        return [found[i] for i in range(len(inputs))]
