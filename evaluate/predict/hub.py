"""Find trained models: the seeds of a run, a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import UserError

MODELS = Path("models")
# Names of the hub's models, and a commit, tag or branch after @.
_HUB = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.-]{1,100}))?")
# What `python -m evaluate.package` writes. Other files, such as pickled weights, are not downloaded.
FILES = (
    "model.safetensors", "distance.safetensors", "model.json", "config.json", "README.md", "weights/*/*.safetensors",
    "weights/*/*.json", "weights/*/*.txt", "weights/*/*.model",
)  # fmt: skip


def seed_folders(models: Path) -> list[Path]:
    """Return the folders of the models of a run, seed0, seed1, …, in the order of their numbers."""
    return sorted(models.glob("seed*"), key=lambda path: (len(path.name), path.name))


def model_folder(given: str) -> Path:
    """Return the folder of a model; a model of the hub is downloaded once into the hub's cache.

    Args:
        given: a folder, or USER/NAME or USER/NAME@REVISION of the hub. What begins with an existing folder or with
            `models/`, the folder of trained models, is a folder.

    Raises:
        UserError: the folder is missing, the hub has no such model, or it is not on this machine and the hub cannot be
            reached.
    """
    name, folder = _HUB.fullmatch(given), Path(given)
    if name is None or folder.parts[0] == MODELS.name or Path(folder.parts[0]).exists():
        if not folder.is_dir():
            raise UserError(
                f"--model {given}: no such folder in {Path.cwd()}; correct the path, train a model with `dvc repro`, "
                "or fetch the models with `dvc pull train`"
            )
        return folder
    # Importing it takes half a second, which a folder does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name[1], revision=name[2], allow_patterns=list(FILES)))
    except LocalEntryNotFoundError:
        revision = f" --revision {name[2]}" if name[2] else ""
        raise UserError(
            f"--model {given}: no such folder, and no such model in the hub's cache, and the hub cannot be reached "
            f"(or HF_HUB_OFFLINE is set); correct the folder, or run `hf download {name[1]}{revision}` with a network"
        ) from None
    except (EntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"--model {given}: no such folder, and the hub does not provide it: {why}; correct the name, or log in "
            "with `hf auth login` if the model is private"
        ) from None
