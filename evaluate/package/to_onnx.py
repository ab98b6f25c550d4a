"""Export a trained fusion network to ONNX.

MultiEMO, with any number of dialogues and turns:

    inputs    for each modality in use: MODALITY [batch, turns, D], normalised features, and MODALITY_present
              [batch, turns] bool; speakers [batch, turns] int64, parties by first appearance; lengths [batch] int64
    output    logits [batch, turns, C]; rows at and after a dialogue's length are meaningless

The models in `MODELS` (evaluate/package/dialogue.py), one dialogue of any number of turns at a time:

    inputs    for each modality in use: MODALITY [turns, D] and MODALITY_present [turns] bool; speakers [turns] int64
    output    logits [turns, C]

The features are normalised by the means and standard deviations in model.json, 0 where missing.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from evaluate.package.dialogue import MODELS, Dialogue
from pipeline.disk import replacing
from pipeline.errors import UserError
from train.fusion.params import Fusion
from train.models.contract import MODALITIES
from train.models.multiemo import Params

EXAMPLE = 2, 3  # dialogues, turns; the exported network has no fixed size
PACKAGES = "pip install -r requirements-onnx.txt"


class _Function(NamedTuple):
    """A network as a function of tensors: example inputs, their free sizes, and their names."""

    module: nn.Module
    inputs: tuple[Any, ...]
    sizes: tuple[Any, ...]
    names: list[str]


def write(network: nn.Module, fusion: Fusion, dims: dict[str, int], path: Path) -> None:
    """Write the network as an ONNX file.

    Args:
        network: the trained network.
        fusion: its declaration and params.
        dims: modality in use → feature size.
        path: the file to write.

    Raises:
        UserError: the model cannot be exported, or a package is missing.
    """
    try:
        import onnx_ir
        import onnxscript  # noqa: F401  (torch.onnx imports it)
    except ImportError as error:
        raise UserError(f"--onnx: {error}; install the packages with `{PACKAGES}`") from None
    function = _function(network.eval(), fusion, dims)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on axes that share a name
        exported = torch.onnx.export(
            function.module,
            function.inputs,
            dynamic_shapes=function.sizes,
            input_names=function.names,
            output_names=["logits"],
            dynamo=True,
            verbose=False,
        )
    program = cast(torch.onnx.ONNXProgram, exported)  # None only for the older exporter
    graphs: list[onnx_ir.Graph | onnx_ir.Function] = [program.model.graph, *program.model.functions.values()]
    for graph in graphs:
        for node in onnx_ir.traversal.RecursiveGraphIterator(graph):
            node.metadata_props.clear()  # they contain paths on this machine
    with replacing(path) as part:
        program.save(part)


def _function(network: nn.Module, fusion: Fusion, dims: dict[str, int]) -> _Function:
    params = fusion.model
    if isinstance(params, Params):
        return _of_dialogues(network, params, dims)
    if params.name in MODELS:
        return _of_a_dialogue(network, dims)
    raise UserError(
        f"--onnx: model {params.name}: cannot be exported to ONNX; these can: multiemo, {', '.join(MODELS)}"
    )


def _of_dialogues(network: nn.Module, params: Params, dims: dict[str, int]) -> _Function:
    if params.compat == "published":
        raise UserError(
            "--onnx: model.compat=published attends to padded turns, so the output depends on the batch; set "
            "model.compat=default in params.yaml and train again"
        )
    from evaluate.package.padded import Padded
    from train.models.multiemo.network import MultiEMO

    modalities, (batch, turns) = _in_use(dims), EXAMPLE
    features = [torch.zeros(batch, turns, dims[m]) for m in modalities]
    present = [torch.ones(batch, turns, dtype=torch.bool) for _ in modalities]
    speakers, lengths = torch.zeros(batch, turns, dtype=torch.long), torch.tensor([turns, turns - 1])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("turns")}
    several = [sizes] * len(modalities)
    return _Function(
        Padded(cast(MultiEMO, network), params),
        (features, present, speakers, lengths),
        (several, several, sizes, {0: sizes[0]}),
        [*modalities, *(f"{m}_present" for m in modalities), "speakers", "lengths"],
    )


def _of_a_dialogue(network: nn.Module, dims: dict[str, int]) -> _Function:
    modalities, turns = _in_use(dims), EXAMPLE[1]
    features = [torch.zeros(turns, dims[m]) for m in modalities]
    present = [torch.ones(turns, dtype=torch.bool) for _ in modalities]
    sizes = {0: torch.export.Dim("turns", min=1)}
    several = [sizes] * len(modalities)
    return _Function(
        Dialogue(network, modalities),
        (features, present, torch.zeros(turns, dtype=torch.long)),
        (several, several, sizes),
        [*modalities, *(f"{m}_present" for m in modalities), "speakers"],
    )


def _in_use(dims: dict[str, int]) -> list[str]:
    return [m for m in MODALITIES if m in dims]
