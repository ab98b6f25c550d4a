from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from extract.contract import Failure
from extract.encoders.image import ImageEncoder, ImageParams
from extract.networks.images import Preparation
from extract.networks.weights import Weights
from extract.reading.pictures import EvenFrames
from pipeline.errors import UserError
from tests.extract.outcomes import extract, item_of
from tests.extract.portraits import astronaut, scene, write_clip

SIZE = {"height": 32, "width": 32}
EDGE = {"size": {"shortest_edge": 32}, "crop_size": SIZE}
LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**LAYERS, "image_size": 32, "patch_size": 8}
TEXT = {**LAYERS, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}


def clip():
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    return transformers.CLIPModel(config), transformers.CLIPImageProcessor(**EDGE)


def siglip():
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)
    return transformers.SiglipModel(config), transformers.SiglipImageProcessor(size=SIZE)


def vit():
    return transformers.ViTModel(transformers.ViTConfig(**VISION)), transformers.ViTImageProcessor(size=SIZE)


def dinov2():
    config = transformers.Dinov2Config(**LAYERS, image_size=32, patch_size=8)
    return transformers.Dinov2Model(config), transformers.BitImageProcessor(**EDGE)


def swin():
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    return transformers.SwinModel(config), transformers.ViTImageProcessor(size=SIZE)


def convnext():
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=32)
    return transformers.ConvNextModel(config), transformers.ConvNextImageProcessor(size={"shortest_edge": 32})


# What each model was trained to compare, from transformers' own outputs.
MODELS = {
    clip: (24, lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output),
    siglip: (32, lambda model, pixels: model.get_image_features(pixel_values=pixels).pooler_output),
    vit: (32, lambda model, pixels: model(pixel_values=pixels).last_hidden_state[:, 0]),
    dinov2: (32, lambda model, pixels: model(pixel_values=pixels).pooler_output),
    swin: (32, lambda model, pixels: model(pixel_values=pixels).pooler_output),
    convnext: (32, lambda model, pixels: model(pixel_values=pixels).last_hidden_state.mean((2, 3))),
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    portrait = astronaut(120)
    write_clip(folder / "long.mp4", [scene((portrait, 4 * t, 30), width=200, height=160) for t in range(20)])
    write_clip(folder / "short.mp4", [scene((portrait, 0, 0), width=160, height=200)] * 3)
    (folder / "broken.mp4").write_bytes(b"not a video")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[object, Path]:
    made: dict[object, Path] = {}
    for build in MODELS:
        torch.manual_seed(0)
        model, processor = build()
        made[build] = tmp_path_factory.mktemp(build.__name__)
        model.save_pretrained(made[build])
        processor.save_pretrained(made[build])
    return made


def encoder(media: Path, weights: Path, **params: Any) -> ImageEncoder:
    return ImageEncoder(ImageParams(encoder="image", weights=str(weights), **params), media)


@pytest.mark.parametrize("build", MODELS)
def test_frames_are_what_transformers_gives(media: Path, folders: dict[object, Path], build) -> None:
    dim, expected = MODELS[build]
    stream = encoder(media, folders[build], count=5)
    (features,) = extract(stream, [item_of(stream, media / "long.mp4")])
    frames = EvenFrames(media / "long.mp4", None, None, 5)
    processor = transformers.AutoImageProcessor.from_pretrained(folders[build])
    model = transformers.AutoModel.from_pretrained(folders[build]).eval()
    with torch.no_grad():
        pixels = processor(images=[frame for _, frame in frames], return_tensors="pt")["pixel_values"]
        reference = expected(model, pixels).numpy()
    assert stream.pooled_dim == stream.frames_dim == dim
    np.testing.assert_allclose(features.frames, reference, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.pooled, reference.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.times, [t for t, _ in frames])


def efficientnet():
    return transformers.EfficientNetImageProcessor(size=SIZE)


def mobilevit():
    return transformers.MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)


@pytest.mark.parametrize("processor", [*(build()[1] for build in MODELS), efficientnet(), mobilevit()])
def test_preprocessing_in_two_steps_is_the_models(processor, tmp_path: Path) -> None:
    """Fitted pictures are bytes, unless the model's preprocessing cannot be divided."""
    processor.save_pretrained(tmp_path)
    prepared = Preparation(Weights(tmp_path, "", "", ""))
    picture = scene((astronaut(90), 20, 0), width=160, height=90)
    pictures = [picture, picture[:, ::-1].copy()]
    fitted = np.stack([prepared.fit(one) for one in pictures])
    whole = processor(images=pictures, return_tensors="pt")["pixel_values"].numpy()
    assert prepared.scale(fitted).tobytes() == whole.tobytes()
    divided = not isinstance(
        processor, transformers.EfficientNetImageProcessor | transformers.MobileViTImageProcessor
    )
    assert (fitted.dtype == np.uint8) == divided


def test_up_to_count_frames_evenly(media: Path, folders: dict[object, Path]) -> None:
    few = encoder(media, folders[vit], count=4)
    items = [item_of(few, media / name) for name in ("long.mp4", "short.mp4")]
    long, short = extract(few, items)
    np.testing.assert_allclose(long.times, [0.2, 0.7, 1.2, 1.7], atol=0.051)
    assert len(short.times) == 3
    # More frames than one pass of the model takes.
    long, short = extract(encoder(media, folders[vit], count=180), items)
    assert (len(long.frames), len(short.frames)) == (20, 3)


def test_a_feature_does_not_depend_on_its_neighbours(media: Path, folders: dict[object, Path]) -> None:
    stream = encoder(media, folders[clip])
    items = [item_of(stream, media / name) for name in ("long.mp4", "short.mp4")]
    together = extract(stream, items)
    for item, features in zip(items, together, strict=True):
        (alone,) = extract(encoder(media, folders[clip]), [item])
        assert alone.pooled.tobytes() == features.pooled.tobytes()
        assert alone.frames.tobytes() == features.frames.tobytes()


def test_bf16_is_another_feature_near_the_first(media: Path, folders: dict[object, Path]) -> None:
    full, half = (encoder(media, folders[clip], precision=p) for p in ("fp32", "bf16"))
    (a,), (b,) = (extract(e, [item_of(e, media / "short.mp4")]) for e in (full, half))
    assert full.fingerprint() != half.fingerprint()
    assert b.frames.dtype == np.float32
    assert not np.array_equal(a.frames, b.frames)
    assert np.abs(a.frames - b.frames).max() < 0.1 * np.abs(a.frames).max()


def test_failures_keep_their_place(media: Path, folders: dict[object, Path]) -> None:
    stream = encoder(media, folders[vit])
    items = [item_of(stream, media / n) for n in ("broken.mp4", "short.mp4", "absent.mp4")]
    found = stream.extract(items)
    assert [f.status if isinstance(f, Failure) else "ok" for f in found] == ["corrupt", "ok", "missing_file"]


def test_what_is_no_image_encoder_is_named(media: Path, tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**LAYERS, vocab_size=50)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="bert, which is not an image encoder"):
        _ = encoder(media, tmp_path).pooled_dim


def test_weights_that_are_not_the_models_are_refused(media: Path, folders, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folders[vit].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    removed = sorted(k for k in state if "layernorm" in k)
    save_file(
        {k: v for k, v in state.items() if k not in removed}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    stream = encoder(media, tmp_path)
    with pytest.raises(UserError, match="layernorm"):
        stream.extract([item_of(stream, media / "short.mp4")])
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"preprocessor_config\.json"):
        encoder(media, tmp_path).read(item_of(stream, media / "short.mp4"))
