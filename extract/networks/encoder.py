"""What the encoders with pretrained weights share: where the weights are, and what they were fitted to."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

from extract.contract import Encoder
from extract.networks.weights import Weights, resolve
from pipeline.params import StreamParams

P = TypeVar("P", bound=StreamParams)


class WeightsParams(Protocol):
    """The params that name weights."""

    weights: str
    revision: str


class PretrainedEncoder(Encoder[P]):
    """An encoder whose params have `weights` and `revision`."""

    def weights(self) -> dict[str, str]:
        """Return the name, revision and sha256 of the weights' content."""
        found = self.found_weights
        return {"name": found.name, "revision": found.revision, "sha256": found.sha256}

    def weights_saw(self) -> dict[str, Any] | None:
        """Return what fine-tuned weights were fitted to, None for others."""
        return self.found_weights.saw

    @cached_property
    def found_weights(self) -> Weights:
        """Find the weights that params name.

        Raises:
            UserError: they are not there.
        """
        named = cast(WeightsParams, self.params)
        return resolve(named.weights, named.revision, "weights")
