"""Base class of the encoders with pretrained weights: where the weights are, and what they were trained on."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

from typing_extensions import override

from extract.contract import Encoder
from extract.networks.weights import Weights, resolve
from pipeline.params import StreamParams

P = TypeVar("P", bound=StreamParams)


class WeightsParams(Protocol):
    """Params that name weights."""

    weights: str
    revision: str


class PretrainedEncoder(Encoder[P]):
    """An encoder whose params have `weights` and `revision`."""

    @override
    def weights(self) -> dict[str, str]:
        found = self.found_weights
        return {"name": found.name, "revision": found.revision, "sha256": found.sha256}

    @override
    def weights_saw(self) -> dict[str, Any] | None:
        return self.found_weights.saw

    @cached_property
    def found_weights(self) -> Weights:
        """The weights that the params name.

        Raises:
            UserError: the weights are not on this machine.
        """
        named = cast(WeightsParams, self.params)
        return resolve(named.weights, named.revision, "weights")
