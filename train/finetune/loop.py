"""An encoder's weights fitted to labelled utterances, behind `python -m train.finetune`.

Cross-entropy of a linear layer on the stream's own pooled vector, AdamW with a linear warm-up and fall, batches
of like length. The epoch is chosen by weighted F1 on val. A run that was killed goes on at the step whose state
was last written, and ends with the same bytes as one that was not (one process, on the CPU).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from extract.contract import Trainable
from pipeline.errors import UserError
from pipeline.params import FinetuneParams
from train.checkpoint import read_state, write_state
from train.data.order import bucketed
from train.randomness import random_state, seed_everything, set_random_state
from train.selection import Trained, added, scores

DROPOUT = 0.1
# Batches drawn at random and sorted by length together: long enough to match lengths, short enough to mix.
POOL = 50
# Between two states at least so many times as long as writing one takes: 2 GB for RoBERTa-base.
SAVE_RATIO = 20.0


@dataclass(frozen=True)
class Examples:
    """Labelled utterances of one split.

    Attributes:
        names: the utterances' ids.
        inputs: what the encoder's `read` gave for each.
        labels: [N] long.
    """

    names: list[str]
    inputs: list[Any]
    labels: Tensor


class Classifier(nn.Module):
    """Inputs → logits [B, C]: the encoder's pooled vector, dropout, a linear layer."""

    def __init__(self, encoder: Trainable, dim: int, classes: int) -> None:
        super().__init__()
        self._encoder = encoder
        self.classes = classes
        self.network = encoder.network()
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(dim, classes))

    def forward(self, inputs: Sequence[Any]) -> Tensor:
        logits: Tensor = self.head(self._encoder.vectors(self.network, inputs))
        return logits


def fit(
    encoder: Any, train: Examples, val: Examples, classes: int, knobs: FinetuneParams, accelerator: Accelerator,
    state: Path, name: str,
) -> Trained:  # fmt: skip
    """Fit the encoder that `knobs` describe; returns its weights after the epoch that is best on val.

    Args:
        encoder: an `Encoder` that is `Trainable`.
        state: where the state is kept; a run that finds one there resumes it.
        name: the stream's, for the progress bar and messages.

    Raises:
        UserError: these weights cannot be fitted, or the loss is not finite (its utterances are named).
    """
    seed_everything(knobs.seed, knobs.threads)
    model = accelerator.prepare(Classifier(encoder, encoder.pooled_dim, classes))
    plain = accelerator.unwrap_model(model)
    fitted = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in fitted if p.ndim > 1], "weight_decay": knobs.weight_decay},
        {"params": [p for p in fitted if p.ndim <= 1], "weight_decay": 0.0},  # biases and norms
    ]
    optimiser = torch.optim.AdamW(groups, lr=knobs.lr, fused=True)
    sizes = [encoder.size(one) for one in train.inputs]
    steps = math.ceil(len(sizes) / knobs.batch_size)
    total = steps * knobs.epochs
    done, begin, loss = Trained({}, 0, []), 0, 0.0
    order: list[list[int]] = []
    saved = read_state(state)
    if saved is not None:
        plain.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        set_random_state(saved["random"])
        done, begin, loss = Trained(*saved["done"]), saved["step"], saved["loss"]
    saving = _Saving(state if accelerator.is_main_process else None)
    hidden = None if accelerator.is_main_process else True
    with tqdm(total=total, initial=begin, desc=name, unit="step", disable=hidden) as bar:
        for step in range(begin, total):
            epoch, place = divmod(step, steps)
            if not order or place == 0:
                order = batches(sizes, knobs.batch_size, knobs.seed, epoch)
            for group in optimiser.param_groups:
                group["lr"] = knobs.lr * slope(step, total, knobs.warmup)
            value = _step(model, optimiser, train, order[place], knobs, accelerator)
            if not math.isfinite(value):
                names = ", ".join(train.names[i] for i in order[place])
                raise UserError(
                    f"{name}: the loss or its gradient is not finite in epoch {epoch + 1} ({value:g}) for the "
                    f"utterances {names}; lower finetune.{name}.training.lr"
                )
            loss += value * len(order[place])
            bar.update()
            if place == steps - 1:
                row = {"epoch": epoch + 1, "train_loss": loss / len(sizes)}
                done = _judged(done, plain, val, encoder, knobs, accelerator, row)
                loss = 0.0
                accelerator.print(
                    f"{name}: epoch {epoch + 1} of {knobs.epochs}: train loss {done.history[-1]['train_loss']:.4f}, "
                    f"val weighted F1 {done.history[-1]['val_weighted_f1']:.4f}"
                )
            if saving.is_due():
                saving.write(
                    {
                        "model": plain.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "random": random_state(),
                        "done": [done.weights, done.best_epoch, done.history],
                        "step": step + 1,
                        "loss": loss,
                    }
                )
    return done


def batches(sizes: Sequence[int], count: int, seed: int, epoch: int) -> list[list[int]]:
    """An epoch's batches of at most `count` indices, each index once: of like size inside, shuffled among each other.

    A function of its arguments alone, so that a resumed run finds the order again.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(sizes), generator=generator).tolist()
    return bucketed(order, sizes, count, POOL, generator)


def slope(step: int, total: int, warmup: float) -> float:
    """The learning rate's share of its highest: up to 1 over the first `warmup` of all steps, then down to 0."""
    rising = round(warmup * total)
    return (step + 1) / rising if step < rising else (total - step) / (total - rising)


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, data: Examples, chosen: list[int], knobs: FinetuneParams,
    accelerator: Accelerator,
) -> float:  # fmt: skip
    """One update; the batch's mean loss, or what is not finite of loss and gradient."""
    world = accelerator.num_processes
    # Every process must take part in each step: one that is left without an utterance weighs another's by 0.
    mine = chosen[accelerator.process_index :: world]
    weight = world / len(chosen) if mine else 0.0
    mine = mine or chosen[:1]
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
        logits = model([data.inputs[i] for i in mine])
    labels = data.labels[mine].to(logits.device)
    loss = weight * F.cross_entropy(logits.float(), labels, reduction="sum")
    value = float(accelerator.reduce(loss.detach(), reduction="mean").item())
    if not math.isfinite(value):
        return value
    optimiser.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), knobs.clip).item())
    if not math.isfinite(norm):
        return norm
    optimiser.step()
    return value


@torch.no_grad()
def _judged(
    done: Trained, model: Classifier, val: Examples, encoder: Trainable, knobs: FinetuneParams,
    accelerator: Accelerator, row: dict[str, float],
) -> Trained:  # fmt: skip
    """`done` with an epoch more. Every process computes it: a tenth of the corpus is soon done."""
    model.eval()
    order = sorted(range(len(val.inputs)), key=lambda i: encoder.size(val.inputs[i]))
    logits = torch.empty(len(order), model.classes)
    for start in range(0, len(order), knobs.batch_size):
        chosen = order[start : start + knobs.batch_size]
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
            logits[chosen] = model([val.inputs[i] for i in chosen]).float().cpu()
    model.train()
    return added(done, model.network, {**row, **scores(logits, val.labels)})


class _Saving:
    """When the state is written: so seldom that it costs little, however large it is."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.next = path, 0.0

    def is_due(self) -> bool:
        return self.path is not None and time.monotonic() >= self.next

    def write(self, state: dict[str, Any]) -> None:
        assert self.path is not None
        begin = time.monotonic()
        write_state(self.path, state)
        end = time.monotonic()
        self.next = end + SAVE_RATIO * (end - begin)
