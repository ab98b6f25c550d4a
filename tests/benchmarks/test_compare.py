from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from benchmarks import compare, rows

ROOT = Path(__file__).parents[2]
TABLE = [
    {"what": "pooled", "format": "raw bytes", "read_s": 2.0, "megabytes": 446, "note": "ignored"},
    {"what": "pooled", "format": "npz", "read_s": 4.0, "megabytes": None},
]


def test_a_row_for_each_number(tmp_path: Path) -> None:
    rows.write(tmp_path / "rows.json", "cache", TABLE, ("what", "format"))
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {"benchmark": "cache", "case": "pooled, raw bytes", "measure": "read_s", "value": 2.0},
        {"benchmark": "cache", "case": "pooled, raw bytes", "measure": "megabytes", "value": 446.0},
        {"benchmark": "cache", "case": "pooled, npz", "measure": "read_s", "value": 4.0},
    ]
    assert list(rows.read(tmp_path / "rows.json").values()) == [2.0, 446.0, 4.0]


def test_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cache: two rows are named 'pooled'"):
        rows.write(tmp_path / "rows.json", "cache", TABLE, ("what",))


def test_ratios_of_common_rows_and_the_rows_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    rows.write(old, "cache", [{"what": "a", "read_s": 2.0, "mb": 0}, {"what": "b", "read_s": 1.0}], ("what",))
    rows.write(new, "cache", [{"what": "c", "read_s": 7.0}, {"what": "a", "read_s": 3.0, "mb": 5}], ("what",))
    monkeypatch.setattr(sys, "argv", ["compare", str(old), str(new)])
    compare.main()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["old", "new", "new", "/", "old"],
        ["cache:", "a:", "read_s", "2", "3", "1.500"],
        ["cache:", "a:", "mb", "0", "5", "old", "is", "0"],
        ["cache:", "b:", "read_s", "1", "only", "in", "old"],
        ["cache:", "c:", "read_s", "7", "only", "in", "new"],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a list of rows"),
        ('[{"what": "a", "seconds": 1}]', "row 0: KeyError"),
        ('[{"benchmark": "a", "case": "b", "measure": "c", "value": NaN}]', "not a finite number"),
        ("nonsense", "Expecting value"),
        (None, "No such file"),
    ],
)
def test_another_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    path = tmp_path / "rows.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["compare", str(path), str(path)])
    with pytest.raises(SystemExit, match=message):
        compare.main()


def test_every_benchmark_with_json_writes_this_format() -> None:
    found = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if '"--json"' in text:
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            names = [
                node.args[1]
                for node in calls
                if isinstance(node.func, ast.Name) and node.func.id == "write_rows"
            ]
            assert [ast.literal_eval(name) for name in names] == [path.stem]
            found.append(path.stem)
    assert found == [
        "cache",
        "extract",
        "foalnet_memory",
        "gpu",
        "latency",
        "listen",
        "long_recording",
        "recording",
        "scale",
        "train_step",
    ]
