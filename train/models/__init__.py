"""The fusion models, a folder each: batches of whole dialogues, or of utterances with their frames, in; answers out.

A model's folder declares what it is: its class `Model` (train/models/declaration.py). It is imported only where that
model is asked for.
"""

MODELS: dict[str, str] = {
    "multiemo": "train.models.multiemo",
    "foalnet": "train.models.foalnet",
    "majority": "train.models.majority",
    "logreg": "train.models.logreg",
    "bclstm": "train.models.bclstm",
    "dialoguernn": "train.models.dialoguernn",
}
