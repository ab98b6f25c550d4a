"""One training run: epochs, selection on val, resume.

The loop scores and saves an exponential average of the weights over the last epochs (`train.ema_epochs`), because the
weights of a single step vary by chance, most of all on a small corpus. It chooses the epoch with the best main score of
the goal on val (train/targets), and does not read the test split. `train.patience` counts only after an epoch has
beaten the best constant answer on val: before that, a network has not begun to learn. The loop saves its state
atomically after an epoch, at least `SAVE_EVERY` seconds after the previous save. A killed run resumes from the state
and, on the CPU, ends with the same bytes as an uninterrupted run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.messages import listed
from pipeline.params import Params, TrainParams
from pipeline.tables.schema import LABELS
from train.checkpoint import read_state, write_state, write_weights
from train.data.corpus import Corpus
from train.data.dialogues import Dialogues
from train.data.missing import drawn
from train.fusion.build import build
from train.fusion.params import fusion
from train.models.contract import Solved
from train.randomness import random_state, seed_everything, set_random_state
from train.selection import Trained, added, weights_of
from train.truth import known

SCORED = 64  # units in a batch when scoring; the logits do not depend on it
# Adam's weight decay is MultiEMO's lambda (equation 22): an L2 term in the gradient, unlike AdamW's decoupled decay.
# Foal-Net was published with AdamW. At its lr of 1e-4 a decoupled decay of 1e-5 is negligible: 1e-9 of a weight a step.
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SAVE_EVERY = 5.0  # seconds; writing 100 MB after every epoch of 0.2 s would double the time


def fit(
    data: Corpus, params: Params, seed: int, device: torch.device, state: Path, epochs: Path | None = None
) -> Iterator[Trained]:
    """Train one model and yield the result so far after every epoch; the last one is final.

    Args:
        data: the corpus.
        params: the validated params.
        seed: seeds the initial weights, the order of the data, and dropout.
        device: where the network is trained.
        state: the file of the saved state. If it exists, the run resumes from it.
        epochs: a folder for every epoch's weights (`train.keep_epochs`), or None. It must survive an interruption,
            because a resumed run writes only the remaining epochs.

    Raises:
        UserError: there is nothing to train or select on, or the loss is not finite; the message names its terms and
            the batch.
    """
    train, val = (labelled(data, split) for split in ("train", "val"))
    if epochs is not None:
        epochs.mkdir(parents=True, exist_ok=True)
    generator = seed_everything(seed, params.train.threads)
    model, criterion = build(fusion(params), data.dims, data.goal)
    if isinstance(model, Solved) and isinstance(data, Dialogues):
        yield from _solutions(model, data, train, val, params.train, generator, epochs)
        return
    model.to(device)
    criterion.to(device)
    knobs = params.train
    make = OPTIMISERS[knobs.optimiser]
    optimiser = make(model.parameters(), lr=knobs.lr, weight_decay=knobs.weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, **knobs.plateau.model_dump())
    span = knobs.ema_epochs * math.ceil(len(train) / knobs.batch_size)
    decay = math.exp(-1 / span) if span else 0.0
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    parts = {"model": model, "average": average, "optimiser": optimiser, "scheduler": scheduler}
    done = Trained({}, 0, [])
    saved = read_state(state)
    if saved is not None:
        done = _restore(saved, parts, generator)
        yield done

    truth = data.labels[data.split == "val"]
    main, lowest = f"val_{data.goal.main}", data.goal.baseline(truth[known(truth)])
    written = time.monotonic()
    bar = tqdm(
        range(len(done.history) + 1, knobs.epochs + 1), desc=f"seed {seed}", unit="epoch", disable=None
    )
    for epoch in bar:
        # Training can stay at a constant answer for many epochs before it learns.
        if done.history and done.best[main] > lowest and epoch - done.best_epoch > knobs.patience:
            break
        losses = _epoch(model, average, criterion, optimiser, data, train, knobs, generator, device, epoch)
        scored = score(average.module, data, val, device)
        loss = scored[f"val_{data.goal.term}"]
        if not math.isfinite(loss):
            raise UserError(
                f"the loss on val ({data.goal.term}={loss:g}) is not finite after epoch {epoch}; lower train.lr"
            )
        scheduler.step(loss)
        row = {"epoch": epoch, "lr": optimiser.param_groups[0]["lr"], **losses, **scored}
        bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", main)})
        done = added(done, average.module, row, main)
        if epochs is not None:
            write_weights(epochs / f"{epoch}.safetensors", weights_of(average.module))
        if time.monotonic() - written > SAVE_EVERY:
            write_state(state, _snapshot(done, parts, generator))
            written = time.monotonic()
        yield done


def _solutions(
    model: Any, data: Dialogues, train: list[int], val: list[int], knobs: TrainParams, generator: torch.Generator,
    epochs: Path | None,
) -> Iterator[Trained]:  # fmt: skip
    """Yield a solver's results, one per regularisation strength, selected like epochs."""
    cpu = torch.device("cpu")
    batches = (_drawn(data, group, knobs, generator, cpu) for group in data.groups(train, SCORED))
    done = Trained({}, 0, [])
    term = data.goal.term
    for strength in model.solutions(batches, data.goal):
        scored = score(model, data, val, cpu)
        loss = score(model, data, train, cpu)[f"val_{term}"]
        row = {
            "epoch": len(done.history) + 1,
            "strength": strength,
            "train_loss": loss,
            f"train_{term}": loss,
            **scored,
        }
        done = added(done, model, row, f"val_{data.goal.main}")
        if epochs is not None:
            write_weights(epochs / f"{len(done.history)}.safetensors", weights_of(model))
        yield done


def score(model: nn.Module, data: Corpus, chosen: list[int], device: torch.device) -> dict[str, float]:
    """Return loss and scores of the labelled utterances of the chosen units, under keys `val_…`."""
    return data.goal.scores(*answers(model, data, chosen, device))


@torch.no_grad()
def answers(
    model: nn.Module, data: Corpus, chosen: list[int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits [N, K] and the truth of the N labelled utterances of the chosen units."""
    logits, labels = [], []
    for group in data.groups(chosen, SCORED):
        batch = data.batch(group, device)
        logits.append(model.eval()(batch).logits.float().cpu())
        labels.append(batch.labels.cpu())
    truth = torch.cat(labels)
    here = known(truth)
    return torch.cat(logits)[here], truth[here]


def _epoch(
    model: nn.Module, average: AveragedModel, criterion: nn.Module, optimiser: torch.optim.Optimizer, data: Corpus,
    chosen: list[int], knobs: TrainParams, generator: torch.Generator, device: torch.device, epoch: int,
) -> dict[str, float]:  # fmt: skip
    model.train()
    sums: dict[str, float] = {}
    seen = 0
    for group in data.groups(chosen, knobs.batch_size, generator):
        batch = _drawn(data, group, knobs, generator, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
            parts = criterion(model(batch), batch.labels)
        if not torch.isfinite(parts["total"]):
            names = listed(data.name(unit) for unit in group)
            shown = {k: f"{k}={v.item():g}" for k, v in parts.items() if not torch.isfinite(v)}
            # A finite loss of the goal means that the logits are finite, so the params of another term are the cause.
            remedy = (
                "lower train.lr"
                if data.goal.term in shown
                else "change the params of `loss`, or lower train.lr"
            )
            raise UserError(
                f"the loss ({', '.join(shown.values())}) is not finite in epoch {epoch} for the {data.kind} {names}; "
                + remedy
            )
        optimiser.zero_grad(set_to_none=True)
        parts["total"].backward()
        optimiser.step()
        average.update_parameters(model)
        count = int(known(batch.labels).sum())
        seen += count
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value.item() * count
    return {f"train_{'loss' if k == 'total' else k}": v / seen for k, v in sums.items()}


def _drawn(
    data: Corpus, group: list[int], knobs: TrainParams, generator: torch.Generator, device: torch.device
) -> Any:
    """Return a train batch of the units, with modalities set missing by `train.modality_dropout`."""
    batch = data.batch(group, device)
    if not knobs.modality_dropout:
        return batch
    numbers = torch.rand(len(batch.present), len(batch.labels), generator=generator)
    return drawn(batch, knobs.modality_dropout, numbers)


def labelled(data: Corpus, split: str) -> list[int]:
    """Return the units of a split that have a labelled utterance.

    Raises:
        UserError: there are none.
    """
    chosen = data.labelled_units(split)
    if not chosen:
        raise UserError(
            f"{LABELS}: the {split} split has no labelled utterance; correct it, or change train.fold"
        )
    return chosen


def _snapshot(done: Trained, parts: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
    return {
        **{name: part.state_dict() for name, part in parts.items()},
        "weights": done.weights,
        "best_epoch": done.best_epoch,
        "history": done.history,
        "shuffle": generator.get_state(),
        "random": random_state(),
    }


def _restore(saved: dict[str, Any], parts: dict[str, Any], generator: torch.Generator) -> Trained:
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    generator.set_state(saved["shuffle"])
    set_random_state(saved["random"])
    return Trained(saved["weights"], saved["best_epoch"], saved["history"])
