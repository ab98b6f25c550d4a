"""What an encoder is: the contract between a stream's params, its encoder and the engine that runs it.

A feature depends on its item and the encoder's params alone: never on batch mates, order or padding. That
is what makes a cache resumable, shareable and equal for any number of workers.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from pipeline.closure import NEUTRAL, closure, source_hash
from pipeline.params import INERT, StreamParams

if TYPE_CHECKING:  # the tables bring pandas, which a worker does without
    from torch import Tensor

    from pipeline.tables.schema import Utterance

# What these decide of a feature is in its item or in the params, which are hashed besides.
SEEN_IN_ITEM = ("extract.contract", "extract.encoders", "pipeline.params", "pipeline.tables.schema")

P = TypeVar("P", bound=StreamParams)


@dataclass(frozen=True, slots=True)
class Item:
    """All that an encoder sees of one utterance. Pickled to workers, so plain values only.

    Attributes:
        content: plain JSON-able values that decide the feature (tokens; media hash and span); hashed into `key`.
        source: where to find it (media path relative to the media root); not hashed, a clip may move.
        length: items of equal length may share a batch on the CPU (tokens, samples); 0: nothing is known.
        note: a remark kept in the utterance's row, such as a cut sentence.
    """

    content: Any
    source: str = ""
    length: int = 0
    note: str = ""

    @property
    def key(self) -> str:
        """sha256 of `content`, hex: the utterance's key in the journal."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an utterance has no feature: a status of `pipeline.features.STATUSES` other than `ok`, and a reason."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Features:
    """One utterance's features: `pooled` [P] f4, and `frames` [T, D] f4 with `times` [T] f4 (seconds).

    Encoders always give frames where they have them; the engine drops or rounds them by `frames:`.
    """

    pooled: np.ndarray
    frames: np.ndarray | None = None
    times: np.ndarray | None = None


class Encoder(ABC, Generic[P]):
    """One stream's extractor: items in, features out.

    The constructor is cheap and loads no weights, since the planner builds one too; `encode` loads them when
    first called. Heavy packages are imported there for the same reason.
    """

    modality: ClassVar[str]
    params_model: ClassVar[type[StreamParams]]
    batch_size: int = 1

    def __init__(self, params: P, media: Path) -> None:
        self.params = params
        self.media = media

    @property
    @abstractmethod
    def pooled_dim(self) -> int:
        """P, the length of an utterance's one vector."""

    @property
    def frames_dim(self) -> int:
        """D, the length of a frame's vector; 0 where there are no frames."""
        return 0

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """What each of P dimensions is called; empty where they have no names."""
        return ()

    @property
    def frames_names(self) -> tuple[str, ...]:
        """What each of D dimensions is called; empty where they have no names."""
        return ()

    @abstractmethod
    def weights(self) -> dict[str, str]:
        """Name, revision and sha256 of the weights' content; empty strings where the encoder has none."""

    def weights_saw(self) -> dict[str, Any] | None:
        """Of fine-tuned weights `fold`, and `ids`: hashes of the utterances in train and in val; None for others."""
        return None

    @abstractmethod
    def packages(self) -> tuple[str, ...]:
        """Distribution names whose version can change a feature's value."""

    @abstractmethod
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        """What the encoder will see of utterance `i` of its dialogue; reads no media."""

    @abstractmethod
    def read(self, item: Item) -> Any | Failure:
        """Decode an item's media (or hand its tokens on); runs ahead of `encode`, on a thread of its own."""

    @abstractmethod
    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        """Features of what `read` gave, in order."""

    def extract(self, items: Sequence[Item]) -> list[Features | Failure]:
        """`read` and `encode` in one go; a failed read keeps its place."""
        read = [self.read(item) for item in items]
        encoded = iter(self.encode([r for r in read if not isinstance(r, Failure)]))
        return [r if isinstance(r, Failure) else next(encoded) for r in read]

    def sources(self) -> frozenset[str]:
        """Return the modules of this project that compute the feature; their source is in the fingerprint."""
        return closure(type(self).__module__, without=(*NEUTRAL, *SEEN_IN_ITEM))

    def provenance(self) -> dict[str, Any]:
        """All that decides a feature's value besides the item; its hash is the fingerprint."""
        params = self.params.model_dump(mode="json", exclude={*INERT, "weights"})
        return {
            "encoder": params,
            "weights": self.weights(),
            "packages": {name: metadata.version(name) for name in sorted(self.packages())},
            "code": source_hash(self.sources()),
        }

    def fingerprint(self) -> str:
        """sha256 of `provenance`, hex."""
        text = json.dumps(self.provenance(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Trainable(ABC):
    """What an encoder adds to `Encoder` if its weights can be fitted to a corpus (train/finetune/__main__.py)."""

    @abstractmethod
    def network(self) -> Any:
        """The model as an `nn.Module` on the CPU in float32 and training mode; what stays frozen has no gradient.

        Raises:
            UserError: these weights cannot be fine-tuned.
        """

    @abstractmethod
    def vectors(self, network: Any, inputs: Sequence[Any]) -> Tensor:
        """[B, P]: the pooled features of what `read` gave, with gradients where there are any."""

    @abstractmethod
    def size(self, one: Any) -> int:
        """How long what `read` gave is; inputs of like size share a batch."""

    @abstractmethod
    def save(self, network: Any, folder: Path) -> None:
        """Write model and tokenizer or preprocessor, so that `weights: folder` names them."""
