"""The fusion models, one folder each.

A model maps a batch of dialogues, or of utterances with their frames, to logits. Its folder holds a class `Model`
(train/models/declaration.py) and is imported only when the model is used.
"""

MODELS: dict[str, str] = {
    "multiemo": "train.models.multiemo",
    "foalnet": "train.models.foalnet",
    "majority": "train.models.majority",
    "logreg": "train.models.logreg",
    "logreg_context": "train.models.logreg_context",
    "attention": "train.models.attention",
    "lmf": "train.models.lmf",
    "bclstm": "train.models.bclstm",
    "dialoguernn": "train.models.dialoguernn",
    "dialoguegcn": "train.models.dialoguegcn",
    "mmgcn": "train.models.mmgcn",
    "m3net": "train.models.m3net",
    "iterative": "train.models.iterative",
    "qmnn": "train.models.qmnn",
    "mvn_utterance": "train.models.mvn_utterance",
    "sdt": "train.models.sdt",
}
