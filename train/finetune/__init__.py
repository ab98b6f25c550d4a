"""The `finetune` stage: an encoder trained on the labels of the train split."""
