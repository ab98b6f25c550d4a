"""The `finetune` stage: read the encoder's inputs of train and val, train it, and write its weights."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm import tqdm

from extract.contract import Encoder, Failure, Item
from extract.crossfit import without
from extract.networks.weights import RECORD, content_hash
from extract.streams import WEIGHTS, base_of, load_checked
from pipeline.disk import replacing_folder
from pipeline.env import device as pick_device
from pipeline.errors import UserError, not_written
from pipeline.inputs import Inputs
from pipeline.locks import alone
from pipeline.params import FinetuneParams, Params
from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, dialogues
from pipeline.tables.splits import parts
from pipeline.tables.target import target_of
from train.checkpoint import state_folder
from train.data.labelled import labelled
from train.finetune.loop import Examples, fit
from train.selection import Trained, majority_f1
from train.truth import one_label

SCHEMA = 2


def run(name: str) -> None:
    """Train the encoder of `finetune.NAME` and write weights/NAME; an interrupted run resumes.

    Raises:
        UserError: params or tables are wrong, there is nothing to train on, a loss is not finite, or the disk is full.
    """
    accelerator = _accelerator()
    # Only the main process locks, because the processes of one run must not exclude each other.
    with alone(f"finetune {name}") if accelerator.is_main_process else nullcontext():
        inputs = Inputs(
            ["corpus.labels", "corpus.target", "corpus.values", f"finetune.{name}"], [UTTERANCES, LABELS]
        )
        _run(name, load_checked(), accelerator, inputs)


def _run(name: str, params: Params, accelerator: Any, inputs: Inputs) -> None:
    encoder, knobs = base_of(name, params)
    field = f"finetune.{name}.training.fold"
    data = labelled(target_of(params.corpus), knobs.fold, knobs.seed, knobs.val, field)
    labels = one_label(data.labels, params.corpus.target, f"finetune.{name} trains a classifier").numpy()
    train, val = (
        _examples(f"{name}: {part}", encoder, data.utterances, labels, (data.split == part) & (labels >= 0))
        for part in ("train", "val")
    )
    accelerator.print(f"{name}: {len(train.names)} utterances to train on, {len(val.names)} to select on")
    settings = [encoder.fingerprint(), knobs.model_dump_json(), params.corpus.target, *params.corpus.labels]
    states = state_folder("train.finetune.__main__", settings, [UTTERANCES, LABELS], accelerator.device)
    dialogue = {u.utterance: u.dialogue for u in data.utterances}
    dealt = _dealt({dialogue[one] for one in train.names}, knobs, name)
    others = {states / without(k): part for k, part in enumerate(dealt, 1)}
    for folder, part in [*others.items(), (WEIGHTS / name, [])]:
        held_out = set(part)
        if held_out:
            accelerator.print(f"{name}: {folder.name}: {len(held_out)} of the train dialogues are held out")
            if folder.exists():  # completed by an interrupted run
                continue
        rest = train.only([i for i, one in enumerate(train.names) if dialogue[one] not in held_out])
        state = states / f"{folder.name}.pt"
        done = fit(encoder, rest, val, len(params.corpus.labels), knobs, accelerator, state, name)
        if accelerator.is_main_process:
            inside = {} if held_out else others
            record = _record(name, params, encoder, knobs, done) | {"ids": data.ids(held_out)}
            record["crossfit"] = [
                {"sha256": content_hash(place), "dialogues": left} for place, left in inside.items()
            ]
            _write(folder, encoder, done, record, list(inside))
        accelerator.free_memory()
        _say(name, done, val, accelerator)
    if accelerator.is_main_process:
        inputs.check([WEIGHTS / name])
        shutil.rmtree(states, ignore_errors=True)
    accelerator.end_training()


def _dealt(dialogues: set[str], knobs: FinetuneParams, name: str) -> list[list[str]]:
    """Return the parts of the train dialogues for cross-fitting; an empty list if it is off."""
    if knobs.crossfit < 2:
        return []
    if knobs.crossfit > len(dialogues):
        raise UserError(
            f"finetune.{name}.training.crossfit={knobs.crossfit}: the train split has only {len(dialogues)} dialogues "
            "with a label that can be read; lower it"
        )
    return parts(dialogues, knobs.crossfit, knobs.seed)


def _say(name: str, done: Trained, val: Examples, accelerator: Any) -> None:
    accelerator.print(
        f"{name}: epoch {done.best_epoch} of {len(done.history)} chosen on val, weighted F1 "
        f"{done.best['val_weighted_f1']:.4f}"
    )
    majority = majority_f1(val.labels)
    if done.best["val_weighted_f1"] <= majority:
        accelerator.print(
            f"{name}: hint: no epoch beats the majority class on val (weighted F1 {100 * majority:.1f}), so the "
            f"encoder learned nothing useful; change finetune.{name}.training.lr or raise its epochs"
        )


def _accelerator() -> Any:
    from accelerate import Accelerator, DistributedDataParallelKwargs

    where = pick_device()
    if where.index is not None:
        torch.cuda.set_device(where)
    # If a stream reads an inner layer, the layers above it have no gradients.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=where.type == "cpu", kwargs_handlers=[unused])


def _examples(
    title: str, encoder: Encoder[Any], utterances: list[Utterance], labels: np.ndarray, wanted: np.ndarray
) -> Examples:
    """Return the encoder's inputs of the wanted utterances ([N] bool), without those that it cannot read.

    Raises:
        UserError: no utterance is left, or a media file is missing.
    """
    names: list[str] = []
    inputs: list[Any] = []
    rows: list[int] = []
    left_out: Counter[str] = Counter()
    row = 0
    with tqdm(total=int(wanted.sum()), desc=title, unit="utterance", disable=None) as bar:
        for dialogue in dialogues(utterances):
            for i, utterance in enumerate(dialogue):
                if wanted[row]:
                    item = encoder.item(dialogue, i)
                    value = encoder.read(item) if isinstance(item, Item) else item
                    if isinstance(value, Failure):
                        if isinstance(item, Item) and value.status == "missing_file":
                            raise UserError(
                                f"{title}: {utterance.utterance}: {item.source} is not under {encoder.media}; set "
                                "corpus.root or EMOFUSE_MEDIA to the folder that holds the media"
                            )
                        left_out[value.status] += 1
                    else:
                        names.append(utterance.utterance)
                        inputs.append(value)
                        rows.append(row)
                    bar.update()
                row += 1
    shown = ", ".join(f"{count} {status}" for status, count in left_out.items())
    if not inputs:
        raise UserError(
            f"{title}: no labelled utterance can be read ({shown or 'there is none'}); check {LABELS} and the media"
        )
    if left_out:
        print(f"{title}: left out: {shown}")
    return Examples(names, inputs, torch.from_numpy(labels[rows]).long())


def _record(
    name: str, params: Params, encoder: Encoder[Any], knobs: FinetuneParams, done: Trained
) -> dict[str, Any]:
    origin = encoder.provenance()
    return {
        "schema": SCHEMA,
        "stream": name,
        "corpus": params.corpus.name,
        "labels": params.corpus.labels,
        "base": origin["weights"],
        "encoder": origin["encoder"],
        "training": knobs.model_dump(mode="json"),
        "fold": str(knobs.fold),
        "best_epoch": done.best_epoch,
        "history": done.history,
        "packages": origin["packages"],
    }


def _write(folder: Path, encoder: Any, done: Trained, record: dict[str, Any], others: list[Path]) -> None:
    """Write the folder under a temporary name and rename it when it is complete, so that no partial folder is read.

    Args:
        folder: the folder to write.
        encoder: the encoder, whose preprocessor is written, too.
        done: the weights.
        record: the content of finetune.json.
        others: folders to copy into it.
    """
    network = encoder.network()
    network.load_state_dict(done.weights)
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with replacing_folder(folder) as part:
        try:
            encoder.save(network, part)
        except SafetensorError as error:  # raised instead of OSError if the disk is full
            raise not_written(folder, error) from None
        (part / RECORD).write_text(text + "\n", encoding="utf-8")
        for other in others:
            shutil.copytree(other, part / other.name)
