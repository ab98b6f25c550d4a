"""Export a trained fusion network to ONNX, with any number of dialogues and turns.

    inputs    for each modality in use: MODALITY [batch, turns, D], normalised features, and MODALITY_present
              [batch, turns] bool; speakers [batch, turns] int64, parties by first appearance; lengths [batch] int64
    output    logits [batch, turns, C]; rows at and after a dialogue's length are meaningless

The features are normalised by the means and standard deviations in model.json, 0 where missing.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import nn

from pipeline.disk import replacing
from pipeline.errors import UserError
from train.fusion.params import Fusion
from train.models.multiemo import Params

EXAMPLE = 2, 3  # dialogues, turns; the exported network has no fixed size
PACKAGES = "pip install -r requirements-onnx.txt"


def write(network: nn.Module, fusion: Fusion, dims: dict[str, int], path: Path) -> None:
    """Write the network as an ONNX file.

    Args:
        network: the trained network.
        fusion: its declaration and params.
        dims: modality in use → feature size.
        path: the file to write.

    Raises:
        UserError: the model is not MultiEMO, has `compat: published`, or a package is missing.
    """
    from train.models.multiemo.network import MultiEMO

    params = fusion.model
    if not isinstance(network, MultiEMO) or not isinstance(params, Params):
        raise UserError(f"--onnx: model {params.name}: only multiemo can be exported to ONNX")
    if params.compat == "published":
        raise UserError(
            f"{path}: not exported: model.compat=published attends to padded turns, so its output depends on the "
            "batch; train with model.compat=default"
        )
    try:
        import onnx_ir
        import onnxscript  # noqa: F401  (torch.onnx imports it)
    except ImportError as error:
        raise UserError(f"--onnx: {error}; install the packages with `{PACKAGES}`") from None
    from evaluate.package.padded import Padded

    modalities, (batch, turns) = network.modalities, EXAMPLE
    features = [torch.zeros(batch, turns, dims[m]) for m in modalities]
    present = [torch.ones(batch, turns, dtype=torch.bool) for _ in modalities]
    speakers, lengths = torch.zeros(batch, turns, dtype=torch.long), torch.tensor([turns, turns - 1])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("turns")}
    several = [sizes] * len(modalities)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on axes that share a name
        exported = torch.onnx.export(
            Padded(network.eval(), params),
            (features, present, speakers, lengths),
            dynamic_shapes=(several, several, sizes, {0: sizes[0]}),
            input_names=[*modalities, *(f"{m}_present" for m in modalities), "speakers", "lengths"],
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
