"""docs/models.md: a model is a folder of two files and one line, and the page has all of it. A knob is two edits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.clone import ROOT, clone, edit, git, run
from tests.train import small

LINE = '    "bclstm": "train.models.bclstm",\n'


def pages() -> dict[str, str]:
    """Return the example's two files and its line, as the page has them."""
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    *code, line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 5
    return {"__init__.py": "\n\n".join(code[:2]), "network.py": "\n\n".join(code[2:]), "line": line}


def packed(text: str) -> str:
    """Return the lines that say something: formatters see to the empty ones between blocks."""
    return "\n".join(line for line in text.splitlines() if line)


@pytest.mark.parametrize("name", ["__init__.py", "network.py"])
def test_the_guide_has_the_real_files_whole(name: str) -> None:
    assert packed(pages()[name]) == packed((ROOT / "train/models/bclstm" / name).read_text(encoding="utf-8"))


def test_the_guide_has_the_real_line() -> None:
    assert pages()["line"].strip() == LINE.strip()
    assert LINE in (ROOT / "train/models/__init__.py").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_model_made_of_the_guide_is_trained_scored_and_tested(tmp_path: Path) -> None:
    project = clone(tmp_path / "project")
    folder = project / "train/models/mine"
    folder.mkdir()
    for name in ("__init__.py", "network.py"):
        (folder / name).write_text(pages()[name].replace("bclstm", "mine"), encoding="utf-8")
    edit(project / "train/models/__init__.py", LINE, LINE + LINE.replace("bclstm", "mine"))
    changed = git(project, "status", "--porcelain", "-uall", "train").splitlines()
    assert sorted(line.split()[1] for line in changed) == [
        "train/models/__init__.py",
        "train/models/mine/__init__.py",
        "train/models/mine/network.py",
    ]
    row = '    Row("BC-LSTM", ("model.name=bclstm",), "BC-LSTM"),\n'
    edit(project / "evaluate/experiments/grids.py", row, row + '    Row("mine", ("model.name=mine",)),\n')
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "A model")

    assert "passed" in run(project, "pytest", "tests/train/test_models.py", "-k", "mine")
    run(project, "evaluate.experiments.tables", "queue", "baselines", "--seeds", "1")
    assert "baselines-mine" in run(project, "dvc", "queue", "status")

    small.make(project)
    weights = []
    for name in ("bclstm", "mine"):
        params = small.params(model={"name": name, "dropout": 0.3}, train={"epochs": 2})
        (project / "params.yaml").write_text(params.model_dump_json(), encoding="utf-8")
        assert f"model.name={name} does not read model.heads" in run(project, "train")
        assert "test" in run(project, "evaluate")
        weights.append((project / "models/seed0/model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert "mine on small" in (project / "results/report.html").read_text(encoding="utf-8")

    # A knob is its field and the line that reads it; params.yaml need not state it.
    edit(
        folder / "__init__.py",
        "    dropout: Dropout = 0.0\n",
        "    dropout: Dropout = 0.0\n    bias: bool = True\n",
    )
    edit(folder / "network.py", "nn.Linear(d, classes)", "nn.Linear(d, classes, bias=params.bias)")
    assert git(project, "status", "--porcelain", "train").split()[1::2] == [
        "train/models/mine/__init__.py",
        "train/models/mine/network.py",
    ]
    run(project, "train")
    assert (project / "models/seed0/model.safetensors").read_bytes() == weights[1]
    raw = params.model_dump(mode="json")
    (project / "params.yaml").write_text(
        json.dumps(raw | {"model": raw["model"] | {"bias": False}}), encoding="utf-8"
    )
    run(project, "train")
    assert "classify.bias" not in load_file(project / "models/seed0/model.safetensors")
    record = json.loads((project / "models/seed0/model.json").read_text(encoding="utf-8"))
    assert record["params"]["model"] == {
        "name": "mine",
        "dim": 16,
        "dropout": 0.3,
        "causal": False,
        "bias": False,
    }
