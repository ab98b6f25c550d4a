"""params.yaml: a user's mistake gets one message with file, field, value and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.params import load
from tests.warm_python import run

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert TEXT.count(old) == 1, old
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


def test_the_projects_own_file_is_valid():
    params = load(ROOT / "params.yaml")
    assert params.loss["mu1"] == 0.3  # the user's example, `-S loss.mu1=0.4`, must change something
    assert params.train.streams.in_use() == {"text": "text", "audio": "opensmile", "visual": "face"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "\nevaluate:",
            "\nevaluation:",
            ["evaluation: unknown key; did you mean `evaluate`?", "evaluate: missing"],
        ),
        ("  name: multiemo\n", "", ["model.name: missing"]),
        ("factor: 0.95", "factor: 1.5", ["train.plateau.factor=1.5"]),
        ("factor: 0.95", "faktor: 0.95", ["train.plateau.faktor: unknown key; did you mean `factor`?"]),
        ("optimiser: adam ", "optimiser: sgd ", ["train.optimiser='sgd'", "'adam' or 'adamw'"]),
        ("  epochs: 60", "  epochs: many", ["train.epochs='many'"]),
        ("  epochs: 60", "  epochs: 0", ["train.epochs=0"]),
        ("visual: face}", "visual: fase}", ["train.streams.visual='fase'", "did you mean `face`?", "`none`"]),
        (
            "{text: text, audio: opensmile, visual: face}",
            "{text: none, audio: none, visual: none}",
            ["every modality"],
        ),
        ("  precision: fp32", "  precision: fp8", ["train.precision='fp8'", "'fp32' or 'bf16'"]),
        (
            "labels: [happiness, sadness, ",
            "labels: [sadness, sadness, ",
            ["corpus.labels", "duplicate label"],
        ),
        ("  oracle_test: false", "  oracle_test: true", ["train.keep_epochs"]),
        ("  keep_epochs: false", "  keep_epochs: 'False'", ["train.keep_epochs='False'"]),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, said):
    text = message(changed(tmp_path, old, new))
    assert str(tmp_path / "params.yaml") in text
    for part in said:
        assert part in text


def test_all_mistakes_come_in_one_message(tmp_path):
    path = changed(tmp_path, "  lr: 0.001", "  lr: 0\n  learning: 3")
    text = message(path)
    assert "train.lr=0" in text
    assert "train.learning: unknown key" in text


def test_yaml_is_dvcs_dialect(tmp_path):
    assert load(changed(tmp_path, "lr: 0.001", "lr: 1e-4")).train.lr == 1e-4
    assert (
        load(
            changed(tmp_path, "licence: synthetic; made by Emofuse, free for any use", "licence: off")
        ).corpus.licence
        == "off"
    )


@pytest.mark.parametrize(
    "text", ["a: [", "- 1\n- 2", "", "a: !!python/object/apply:os.system [echo]", "\x00"]
)
def test_what_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert str(path) in message(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    assert "presets/" in message(tmp_path / "params.yaml")


def test_entry_points_show_no_traceback(tmp_path, warm_python):
    (tmp_path / "params.yaml").write_text("nonsense: 1\n", encoding="utf-8")
    for module in ("evaluate.check", "train", "pipeline.prepare"):
        done = run(warm_python, tmp_path, module)
        assert done.returncode == 2, module
        assert done.stderr.startswith("error: params.yaml: "), module
        assert "Traceback" not in done.stderr
