"""The training loop of `python -m train.finetune`.

The loss is the cross-entropy of a linear layer on the stream's pooled vector. The optimiser is AdamW with a linear
warm-up and a linear decay. Batches hold utterances of similar length. The epoch with the best weighted F1 on val is
chosen. A killed run resumes from the last saved step; with one process on the CPU it ends with the same bytes as an
uninterrupted run.
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
from pipeline.messages import listed
from pipeline.params import FinetuneParams
from train.checkpoint import read_state, write_state
from train.data.order import bucketed
from train.finetune.groups import groups
from train.randomness import random_state, seed_everything, set_random_state
from train.selection import Trained, added, scores

DROPOUT = 0.1
# The number of batches that are sorted by length together: enough to match lengths, few enough to mix utterances.
POOL = 50
# The least time between two saves, in multiples of the time that a save takes. A state is 2 GB for RoBERTa-base.
SAVE_RATIO = 20.0


@dataclass(frozen=True)
class Examples:
    """Labelled utterances of one split.

    Attributes:
        names: the utterance ids.
        inputs: the results of the encoder's `read`.
        labels: [N] long.
    """

    names: list[str]
    inputs: list[Any]
    labels: Tensor

    def only(self, chosen: list[int]) -> Examples:
        """Return the examples with these indices."""
        return Examples(
            [self.names[i] for i in chosen], [self.inputs[i] for i in chosen], self.labels[chosen]
        )


class Classifier(nn.Module):
    """An encoder's pooled vector, dropout, and a linear layer.

    Args:
        encoder: the encoder to fine-tune.
        dim: the size of its pooled vector, D.
        classes: the number of labels, C.
    """

    def __init__(self, encoder: Trainable, dim: int, classes: int) -> None:
        super().__init__()
        self._encoder = encoder
        self.classes = classes
        self.network = encoder.network()
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(dim, classes))

    def forward(self, inputs: Sequence[Any]) -> Tensor:
        """Return the logits [B, C] of B inputs."""
        logits: Tensor = self.head(self._encoder.vectors(self.network, inputs))
        return logits


def fit(
    encoder: Any, train: Examples, val: Examples, classes: int, knobs: FinetuneParams, accelerator: Accelerator,
    state: Path, name: str,
) -> Trained:  # fmt: skip
    """Fine-tune an encoder and return its weights after the epoch that is best on val.

    Args:
        encoder: an `Encoder` that is `Trainable`.
        train: the utterances to train on.
        val: the utterances to select the epoch on.
        classes: the number of labels.
        knobs: the section `training`.
        accelerator: distributes the work over processes.
        state: the file of the saved state. If it exists, the run resumes from it.
        name: the name of the stream, for the progress bar and messages.

    Raises:
        UserError: the encoder cannot be trained, or the loss is not finite; the message names the utterances.
    """
    seed_everything(knobs.seed, knobs.threads)
    model = accelerator.prepare(Classifier(encoder, encoder.pooled_dim, classes))
    plain = accelerator.unwrap_model(model)
    chosen = groups(plain.network, plain.head, knobs.weight_decay, knobs.layer_decay)
    optimiser = torch.optim.AdamW(chosen, lr=knobs.lr, fused=True)
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
                group["lr"] = group["share"] * knobs.lr * slope(step, total, knobs.warmup)
            value = _step(model, optimiser, train, order[place], knobs, accelerator)
            if not math.isfinite(value):
                names = listed(train.names[i] for i in order[place])
                raise UserError(
                    f"{name}: the loss or its gradient ({value:g}) is not finite in epoch {epoch + 1} for the "
                    f"utterances {names}; lower finetune.{name}.training.lr"
                )
            loss += value * len(order[place])
            bar.update()
            if place == steps - 1:
                row = {"epoch": epoch + 1, "train_loss": loss / len(sizes)}
                done = _scored(done, plain, val, encoder, knobs, accelerator, row)
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
    """Return an epoch's batches of indices, each of similar sizes, in random order.

    The result depends only on the arguments, so a resumed run gets the same order.

    Args:
        sizes: the size of each input.
        count: the largest number of inputs in a batch.
        seed: the seed of the run.
        epoch: the number of the epoch.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(sizes), generator=generator).tolist()
    return bucketed(order, sizes, count, POOL, generator)


def slope(step: int, total: int, warmup: float) -> float:
    """Return the learning rate of a step, as a share of the highest.

    It rises to 1 over the first `warmup` share of all steps and then falls to 0.
    """
    rising = round(warmup * total)
    return (step + 1) / rising if step < rising else (total - step) / (total - rising)


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, data: Examples, chosen: list[int], knobs: FinetuneParams,
    accelerator: Accelerator,
) -> float:  # fmt: skip
    """Update the weights, and return the mean loss of the batch.

    If the loss or the norm of its gradient is not finite, return that value and leave the weights unchanged.
    """
    world = accelerator.num_processes
    # Every process must take part in each step, so a process without an utterance gives another's the weight 0.
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
def _scored(
    done: Trained, model: Classifier, val: Examples, encoder: Trainable, knobs: FinetuneParams,
    accelerator: Accelerator, row: dict[str, float],
) -> Trained:  # fmt: skip
    """Return `done` with one more epoch. Every process scores all of val, which is about a tenth of the corpus."""
    model.eval()
    order = sorted(range(len(val.inputs)), key=lambda i: encoder.size(val.inputs[i]))
    logits = torch.empty(len(order), model.classes)
    for start in range(0, len(order), knobs.batch_size):
        chosen = order[start : start + knobs.batch_size]
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
            logits[chosen] = model([val.inputs[i] for i in chosen]).float().cpu()
    model.train()
    return added(done, model.network, {**row, **scores(logits, val.labels)}, "val_weighted_f1")


class _Saving:
    """Limits saving to a small share of the time, however large the state is."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.next = path, 0.0

    def is_due(self) -> bool:
        """Return whether to save now."""
        return self.path is not None and time.monotonic() >= self.next

    def write(self, state: dict[str, Any]) -> None:
        """Save the state, and set the time of the next save."""
        assert self.path is not None
        begin = time.monotonic()
        write_state(self.path, state)
        end = time.monotonic()
        self.next = end + SAVE_RATIO * (end - begin)
