"""The commands of README and docs, run unchanged: each block in a finished run of a small built-in corpus."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clone import copy, git, run, shell
from tests.docs.pages import PAGES, Block, blocks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]
SUBTITLES = "1\n00:00:00,000 --> 00:00:01,000\nAri: They offered me a post in Toronto.\n"
# A page whose blocks build on each other, with the edit of params.yaml that it asks for between its first two.
TUTORIAL = "own-recordings.md"


@pytest.fixture(scope="module")
def recorded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose pipeline has run, with a recording and its subtitles beside it."""
    folder = copy(finished, tmp_path_factory.mktemp("project"))
    recording = min((folder / "data/demo/media").iterdir())
    shutil.copy2(recording, folder / "talk.mp4")
    (folder / "talk.srt").write_text(SUBTITLES, encoding="utf-8")
    (folder / "spans.csv").write_text(
        "utterance,dialogue,turn,text,media,split\na,talk,0,They offered me a post.,talk.mp4,test\n",
        encoding="utf-8",
    )
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A recording")
    git(folder, "tag", "v1")
    return folder


@pytest.fixture
def project(recorded: Path) -> Iterator[Path]:
    yield recorded
    git(recorded, "checkout", "-q", "-f", "main")
    git(recorded, "reset", "-q", "--hard", "v1")
    git(recorded, "clean", "-q", "-f", "-d")
    (recorded / ".dvc/config.local").unlink(missing_ok=True)
    run(recorded, "dvc", "checkout", "-q", "-f")


def marked(place: str, language: str = "bash") -> list[Block]:
    return [block for block in blocks(language) if block.mark.removeprefix("run: ").split(" ")[0] == place]


@pytest.mark.parametrize("block", [b for b in marked("project") if b.page.name != TUTORIAL], ids=str)
def test_a_block_runs_in_a_project(block: Block, project: Path, tmp_path: Path) -> None:
    shell(project, block.text.replace("/srv/emofuse", str(tmp_path / "remote")))


@pytest.mark.parametrize("block", marked("elsewhere"), ids=str)
def test_a_block_runs_elsewhere_without_media(block: Block, project: Path, tmp_path: Path) -> None:
    run(project, "dvc", "remote", "add", "-d", "lab", str(tmp_path / "remote"))
    run(project, "dvc", "push")
    git(project, "commit", "-q", "-a", "-m", "Remote")
    script = block.text.replace("git clone … && cd …", f"git clone -q {project} there && cd there")
    # DVC does not overwrite a file that is there already.
    script = script.replace("REPOSITORY", str(project)).replace("--rev v1", "--rev v1 -o one.h5")
    shell(tmp_path, script)
    assert not (tmp_path / "there/data/demo").exists()
    assert (tmp_path / "there/one.h5").read_bytes() == (project / "data/features/text.h5").read_bytes()


def test_the_tutorial_on_own_recordings_runs_from_top_to_bottom(project: Path) -> None:
    [page] = [page for page in PAGES if page.name == TUTORIAL]
    first, *rest = [block.text for block in marked("project") if block.page == page]
    [wanted] = [block.text for block in blocks("yaml") if block.page == page]
    shell(project, first)
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    for line in wanted.splitlines()[1:]:
        text, count = re.subn(rf"^{line.split(':')[0]}: .*$", line, text, count=1, flags=re.MULTILINE)
        assert count == 1, line
    params.write_text(text, encoding="utf-8")
    output = "".join(shell(project, script) for script in rest)
    assert "report: results/report.html" in output
    assert (project / "out/timeline.html").exists()


@pytest.mark.parametrize(
    "block", [b for b in blocks("python") if b.page.name in ("README.md", "python.md")], ids=str
)
def test_a_block_of_python_runs_in_a_project(block: Block, project: Path) -> None:
    (project / "block.py").write_text(block.text, encoding="utf-8")
    run(project, "block")
