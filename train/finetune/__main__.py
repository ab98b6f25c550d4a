"""Fine-tune an encoder on the labels of the train split. This is the `finetune` stage.

    python -m train.finetune text_ft                        # finetune.text_ft of params.yaml → weights/text_ft
    accelerate launch -m train.finetune.__main__ text_ft    # the same on several GPUs, which share each batch

`finetune.NAME` describes a stream, as under `extract`, and has a section `training`. The encoder is `text`, or `speech`
with frozen convolutions. Only utterances of train and val are read, each with its context. weights/NAME holds the
model, its tokenizer or preprocessor, and finetune.json: base weights, params, the scores of every epoch, the fold, and
hashes of the utterance ids, which training checks. With `training.crossfit: K` it also holds K encoders that each were
trained without a part of the train dialogues (extract/crossfit.py).

The same inputs on the same machine give the same bytes. After an interruption, the next run resumes from the last saved
state, at most a few minutes old.
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    """Run the command."""
    arguments = parser("train.finetune", __doc__)
    arguments.add_argument("name", metavar="NAME", help="a key under `finetune` in params.yaml")
    name = arguments.parse_args().name

    from train.finetune.stage import run

    run(name)


if __name__ == "__main__":
    entry(main, "finetune: interrupted; the next run resumes from the last saved state")
