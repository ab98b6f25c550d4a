"""Tiny randomly initialised checkpoints with hand-made tokenizers, saved as real ones are: by `save_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

WORDS = [
    *("ann", "bob", ":", "i", "you", "am", "are", "so", "happy", "late", "again", "sorry"),
    *(".", "!", "?", "really", "no", "what", "##y", "now"),
]
MERGED = ["ĠAnn", "ĠBob", "Ġhappy", "Ġsorry", "Ġlate", "Ġyou", "Ġare"]
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "initializer_range": 0.3,
}


def bert(folder: Path, **settings: Any) -> Path:
    """A BERT with 64 positions and a vocabulary of whole words."""
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = transformers.BertTokenizer(vocab=vocab)
    config = transformers.BertConfig(
        **{**SHAPE, "vocab_size": len(vocab), "max_position_embeddings": 64, **settings}
    )
    return _save(folder, tokenizer, transformers.BertModel, config)


def roberta(folder: Path, **settings: Any) -> Path:
    """A RoBERTa with 66 - 2 positions and a byte-level vocabulary with a few merged words."""
    from tokenizers.pre_tokenizers import ByteLevel

    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    merges: list[Any] = []
    for word in MERGED:
        for i in range(1, len(word)):
            if word[: i + 1] not in names:
                names.append(word[: i + 1])
                merges.append((word[:i], word[i]))
    tokenizer = transformers.RobertaTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=merges)
    config = transformers.RobertaConfig(
        **{**SHAPE, "vocab_size": len(names), "max_position_embeddings": 66, "pad_token_id": 1, **settings}
    )
    return _save(folder, tokenizer, transformers.RobertaModel, config)


def deberta(folder: Path) -> Path:
    """A DeBERTa-v2 with a vocabulary of sentence pieces."""
    names = [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "[MASK]",
        "▁",
        *(f"▁{w}" for w in WORDS),
        *"abcdefghilnoprstuy:.!?",
    ]
    tokenizer = transformers.DebertaV2Tokenizer(
        vocab=[(name, -float(i)) for i, name in enumerate(names)], unk_id=3
    )
    config = transformers.DebertaV2Config(
        **SHAPE,
        vocab_size=len(names),
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    )
    return _save(folder, tokenizer, transformers.DebertaV2Model, config)


def speech(folder: Path, kind: str) -> Path:
    """A tiny speech encoder and its preprocessor: 50 frames a second, as the real ones."""
    if kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=32,
            encoder_layers=3,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            num_mel_bins=80,
            vocab_size=60,
            pad_token_id=1,
            bos_token_id=1,
            eos_token_id=1,
            decoder_start_token_id=1,
            init_std=0.3,
        )
        return _save(folder, transformers.WhisperFeatureExtractor(), transformers.WhisperModel, config)
    shape = {**SHAPE, "num_hidden_layers": 3, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16}
    # Not 4: with 8 channels a group, oneDNN convolves bf16 wrongly on CPUs with AMX (torch 2.14.1).
    shape |= {"num_conv_pos_embedding_groups": 2}
    grouped = kind in ("wav2vec2-base", "hubert")
    if kind == "data2vec":
        shape["num_conv_pos_embeddings"] = 5  # layers here, not a width
    else:
        shape |= {"feat_extract_norm": "group" if grouped else "layer", "do_stable_layer_norm": not grouped}
    configs = {
        "wav2vec2-base": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
        "wav2vec2-large": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
        "hubert": (transformers.HubertModel, transformers.HubertConfig),
        "wavlm": (transformers.WavLMModel, transformers.WavLMConfig),
        "data2vec": (transformers.Data2VecAudioModel, transformers.Data2VecAudioConfig),
    }
    model, config_class = configs[kind]
    preprocessor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=not grouped)
    return _save(folder, preprocessor, model, config_class(**shape))


def _save(folder: Path, before: Any, model_class: Any, config: Any) -> Path:
    torch.manual_seed(0)
    before.save_pretrained(folder)
    model_class(config).save_pretrained(folder)
    return folder


def texts(folder: Path) -> dict[str, Path]:
    """One text encoder of each kind."""
    make = {"bert": bert, "roberta": roberta, "deberta": deberta}
    return {name: function(folder / name) for name, function in make.items()}
