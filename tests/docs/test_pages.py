"""README and docs: their length, order, links, blocks and numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from evaluate import stage
from evaluate.run.metrics import METRICS
from pipeline.closure import ROOT
from pipeline.features import STATUSES
from tests.docs import numbers, reference
from tests.docs.pages import PAGES, Block, blocks
from tests.test_help import COMMANDS, ENTRIES

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"python -m ([\w.]+)((?: [^\n#&|;]*)?)")


def test_the_readme_is_short_and_answers_a_newcomers_questions_in_their_order() -> None:
    assert len(README.split()) <= 1200
    assert re.findall("^## (.*)", README, re.MULTILINE) == [
        "Run it",
        "Compare experiments",
        "Use your own data",
        "Predict on new recordings",
        "Share features",
        "Use more machines",
        "The tree",
        "Licence",
    ]


def test_the_readme_shows_the_scores_of_the_locked_run(capsys: pytest.CaptureFixture[str]) -> None:
    stage._print(json.loads((ROOT / "results/metrics.json").read_text(encoding="utf-8")))
    assert f"```text\n{capsys.readouterr().out}```" in README


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_of_the_report_is_small() -> None:
    picture = (ROOT / "docs/report.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000


def test_every_block_names_its_language() -> None:
    assert [str(block) for block in blocks() if not block.language] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_list_begins_after_an_empty_line(page: Path) -> None:
    """The site shows it as a part of the paragraph otherwise; GitHub does not."""
    text = re.sub("^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    item = r"[-*] |\d+\. "
    assert re.findall(rf"^(?!{item}|\s|#)[^\n]+\n(?:{item})[^\n]*", text, re.MULTILINE) == []


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_a_block_of_commands_is_run_by_a_test_or_says_why_not(block: Block) -> None:
    ran_by = re.fullmatch("run by (.*)", block.mark)
    if ran_by:
        assert block.page.name in (ROOT / ran_by[1]).read_text(encoding="utf-8")
    else:
        assert re.match("run: (project|recordings|elsewhere)|not run: .", block.mark), block.mark
    named = re.findall(r"tests/[\w/]+\.py", block.mark)
    assert [test for test in named if not (ROOT / test).exists()] == []


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_what_a_block_of_commands_names_exists(block: Block) -> None:
    """Blocks that no test can run, too."""
    targets = re.findall(r"(?:^|&& )make(?: [A-Z]+=\S+)* ([a-z][\w-]*)", block.text, re.MULTILINE)
    rules = re.findall(r"^([\w%-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [t for t in targets if not {t, re.sub("-.*", "-%", t)} & set(rules)] == []
    presets = re.findall(r"presets/[\w-]+\.yaml", block.text)
    assert [preset for preset in presets if not (ROOT / preset).exists()] == []
    for command, words in COMMAND.findall(block.text):
        if command not in ("pytest", "venv"):
            assert command in ENTRIES
            inner = f"{command} {words.split()[0]}" if words.split() else command
            shown = section(inner if inner in COMMANDS else command)
            for option in re.findall(r"(?<=\s)--[a-z][\w-]*", words):
                assert option in shown, f"{block}: {inner} has no {option}"


def section(command: str) -> str:
    """Return a command's part of docs/reference/commands.md."""
    page = (reference.FOLDER / "commands.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^#+ python -m {re.escape(command)}\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    assert found, command
    return found[1]


def test_the_parameters_page_is_that_of_today() -> None:
    page = (reference.FOLDER / "params.md").read_text(encoding="utf-8")
    assert page == reference.params_page(), "run `python -m tests.docs.reference`"


def test_every_parameter_has_a_meaning() -> None:
    page = (reference.FOLDER / "params.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]*) \|$", page, re.MULTILINE)
    assert len(rows) > 60
    assert [name for name, meaning in rows if not meaning] == []


def test_the_commands_page_has_every_command() -> None:
    """tests/test_help.py compares each one's help with the page."""
    page = (reference.FOLDER / "commands.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^#+ python -m (.*)$", page, re.MULTILINE)) == sorted(COMMANDS)


def test_the_formats_page_has_every_status() -> None:
    page = (reference.FOLDER / "formats.md").read_text(encoding="utf-8")
    table = page.partition("## Statuses\n")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == STATUSES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_of_scores_are_those_of_their_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == numbers.filled(text), "run `python -m tests.docs.numbers`"


def test_the_best_rows_are_single_models(tmp_path: Path) -> None:
    scores = {
        "BC-LSTM": 50.0,
        "SDT": 52.0,
        "SDT, ensemble of 2 seeds": 60.0,
        "MultiEMO": 51.0,
        "UniMSE": float("nan"),
    }
    row = {f"{metric}{part}": 1.0 for metric in METRICS for part in ("", "_sd")} | {"p": 0.5}
    table = pd.DataFrame([{"row": name} | row | {"weighted_f1": score} for name, score in scores.items()])
    table.to_csv(tmp_path / "table.csv", index=False)
    assert numbers.best(tmp_path / "table.csv", 2, ["weighted F1", "p"]).splitlines() == [
        "|  | weighted F1 | p |",
        "| --- | --- | --- |",
        "| SDT | 52.00 ± 1.00 | 0.5000 |",
        "| MultiEMO | 51.00 ± 1.00 | 0.5000 |",
    ]


def test_every_published_file_is_in_a_page() -> None:
    named = {
        name for page in PAGES for _, name, *_ in numbers.TABLE.findall(page.read_text(encoding="utf-8"))
    }
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "results/published").iterdir()}
    assert named == there
