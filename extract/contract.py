"""The interface of an encoder, between a stream's params and the engine.

A feature depends only on its item and the encoder's params, never on other items of the batch, on order or on padding.
Therefore extraction can resume, features can be shared, and any number of workers gives the same file.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from pipeline.closure import NEUTRAL, closure, source_hash
from pipeline.params import INERT, StreamParams

if TYPE_CHECKING:  # the tables import pandas, which workers do not need
    from torch import Tensor

    from pipeline.tables.schema import Utterance

# These modules affect a feature only through its item and the params, which are hashed separately.
SEEN_IN_ITEM = ("extract.contract", "extract.encoders", "pipeline.params", "pipeline.tables.schema")

P = TypeVar("P", bound=StreamParams)


@dataclass(frozen=True, slots=True)
class Item:
    """Everything that an encoder uses of one utterance. Workers receive it pickled, so it has plain values only.

    Attributes:
        content: JSON values that determine the feature (tokens; media hash and span). `key` is their hash.
        source: path of the media file relative to the media root; not hashed, because a file may move.
        length: tokens or samples; items of equal length may share a batch on the CPU. 0 if unknown.
        note: a remark to keep in the utterance's row, such as that a sentence was cut.
        sound: path of the sound, for an encoder of pictures that also reads sound of another place; not hashed.
    """

    content: Any
    source: str = ""
    length: int = 0
    note: str = ""
    sound: str = ""

    @property
    def key(self) -> str:
        """The sha256 of `content`, hex: the item's key in the journal."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an utterance has no features.

    Attributes:
        status: one of `pipeline.features.STATUSES`, not `ok`.
        reason: one line for the user.
    """

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one utterance.

    An encoder that has frames always returns them. The engine drops or rounds them, as the param `frames` says.

    Attributes:
        pooled: [P] f4.
        frames: [T, D] f4, or None if the encoder has no frames.
        times: [T] f4, seconds; None if `frames` is.
        note: a remark to keep in the utterance's row, such as that no face in view speaks.
    """

    pooled: np.ndarray
    frames: np.ndarray | None = None
    times: np.ndarray | None = None
    note: str = ""


class Encoder(ABC, Generic[P]):
    """The extractor of one stream: it turns items into features.

    The constructor must be cheap, because the plan needs an encoder too. The first call of `encode` loads the weights
    and imports large packages.

    Attributes:
        modality: `text`, `audio` or `visual`.
        params_model: class of the params.
        batch_size: largest number of items per call of `encode`.
        params: params of the stream.
        media: folder that `Item.source` is relative to.
        kept: folder for results that other streams can use, too; None keeps nothing.
    """

    modality: ClassVar[str]
    params_model: ClassVar[type[StreamParams]]
    batch_size: int = 1
    kept: Path | None = None

    def __init__(self, params: P, media: Path) -> None:
        self.params = params
        self.media = media

    @property
    @abstractmethod
    def pooled_dim(self) -> int:
        """P, the number of pooled features."""

    @property
    def frames_dim(self) -> int:
        """D, the number of features per frame; 0 if the encoder has no frames."""
        return 0

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """Names of the P pooled features; empty if they have none."""
        return ()

    @property
    def frames_names(self) -> tuple[str, ...]:
        """Names of the D frame features; empty if they have none."""
        return ()

    @abstractmethod
    def weights(self) -> dict[str, str]:
        """Return name, revision and sha256 of the weights; empty strings if the encoder has no weights.

        Raises:
            UserError: the weights are missing.
        """

    def weights_saw(self) -> dict[str, Any] | None:
        """For fine-tuned weights, return `fold` and `ids` (hashes of the train and val utterances); else None."""
        return None

    @abstractmethod
    def packages(self) -> tuple[str, ...]:
        """Return the names of the distributions whose version can change a feature's value."""

    @abstractmethod
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        """Return the item of utterance `i` of its dialogue, or why it has none. Must not read media."""

    @abstractmethod
    def read(self, item: Item) -> Any | Failure:
        """Decode an item's media, or return its tokens. The engine calls this ahead of `encode`, in another thread."""

    @abstractmethod
    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        """Return the features of results of `read`, in order."""

    def extract(self, items: Sequence[Item]) -> list[Features | Failure]:
        """Read and encode items; return one outcome each, in order. A failed read is its own outcome."""
        read = [self.read(item) for item in items]
        encoded = iter(self.encode([r for r in read if not isinstance(r, Failure)]))
        return [r if isinstance(r, Failure) else next(encoded) for r in read]

    def counts(self, items: Iterable[Item], remarks: Sequence[str]) -> list[str]:
        """Return lines that `extract status` shows for this kind of encoder. Must not read media.

        Args:
            items: the items of the stream's utterances, made as they are iterated.
            remarks: the reason or remark of every row of the stream's file; empty strings for rows without one.
        """
        return []

    def sources(self) -> frozenset[str]:
        """Return the modules of this project that compute the feature. The fingerprint hashes their source."""
        return closure(type(self).__module__, without=(*NEUTRAL, *SEEN_IN_ITEM))

    def provenance(self) -> dict[str, Any]:
        """Return everything besides the item that determines a feature's value: params, weights, packages and code."""
        params = self.params.model_dump(mode="json", exclude={*INERT, "weights"})
        return {
            "encoder": params,
            "weights": self.weights(),
            "packages": {name: metadata.version(name) for name in sorted(self.packages())},
            "code": source_hash(self.sources()),
        }

    def fingerprint(self) -> str:
        """Return the sha256 of `provenance`, hex."""
        text = json.dumps(self.provenance(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Trainable(ABC):
    """The additional methods of an encoder whose weights can be fine-tuned (train/finetune)."""

    @abstractmethod
    def network(self) -> Any:
        """Return the model as an `nn.Module` in training mode, float32, on the CPU. Frozen parameters need no gradient.

        Raises:
            UserError: these weights cannot be fine-tuned.
        """

    @abstractmethod
    def vectors(self, network: Any, inputs: Sequence[Any]) -> Tensor:
        """Return the pooled features [B, P] of results of `read`, with gradients."""

    @abstractmethod
    def size(self, one: Any) -> int:
        """Return the size of one result of `read`. Inputs of similar size share a batch."""

    @abstractmethod
    def save(self, network: Any, folder: Path) -> None:
        """Write the model and its tokenizer or preprocessor, so that the param `weights` can name the folder."""
