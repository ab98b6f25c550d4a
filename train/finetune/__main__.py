"""The `finetune` stage: an encoder's weights fitted to the train split, so that its features know the emotions.

    python -m train.finetune text_ft               # finetune.text_ft of params.yaml → weights/text_ft
    accelerate launch -m train.finetune.__main__ text_ft    # the same on several GPUs, each batch shared among them

`finetune.NAME` is a stream like those under `extract` (text, or speech with its convolutions frozen) and has a
section `training` besides. It sees the utterances of train and val alone, each with its context, as the stream
will; test is never read. weights/NAME holds the model, its tokenizer or preprocessor, and finetune.json: base
weights, params, the scores of every epoch, and the fold and ids behind them, which training checks.

The same inputs on the same machine give the same bytes. Interrupted, it goes on at the next start from the
state last written (at most some minutes of work are behind it).
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    words = parser("train.finetune", __doc__)
    words.add_argument("name", metavar="NAME", help="a key under `finetune` in params.yaml")
    name = words.parse_args().name

    from train.finetune.stage import run

    run(name)


if __name__ == "__main__":
    entry(main, "finetune: stopped; the next run goes on from the state last written")
