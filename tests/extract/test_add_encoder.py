"""docs/encoders.md: an encoder is one file and one line."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from pipeline.features import FeatureCache
from pipeline.tables.schema import UTTERANCE_COLUMNS, write_table
from tests.clone import ROOT, clone, edit, git, run
from tests.extract.make_clips import clip, sha256, tone

FILE = ROOT / "extract/encoders/opensmile.py"
REGISTRY = ROOT / "extract/encoders/__init__.py"


def test_the_guide_quotes_the_real_file():
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/encoders.md").read_text(), re.DOTALL)
    assert len(code) == 5
    real, registry = (unindented(file.read_text()) for file in (FILE, REGISTRY))
    for part in code[:-1]:
        assert unindented(part) in real
    assert unindented(code[-1]) in registry


def unindented(text: str) -> str:
    """Formatters move code blocks of a guide to the margin, and the lines between functions."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_copy_of_that_file_and_its_line_are_an_encoder(tmp_path):
    project, media = clone(tmp_path / "project"), tmp_path / "media"
    media.mkdir()
    for i in range(3):
        clip(
            media / f"{i}.wav", video=False, codec="pcm_s16le", sound=tone(0.5 if i else 0.02, hertz=200 * i)
        )
    rows = [
        {
            "utterance": f"u{i}",
            "dialogue": "d",
            "turn": i,
            "media": f"{i}.wav",
            "media_hash": sha256(media / f"{i}.wav"),
        }
        for i in range(3)
    ]
    table = pd.DataFrame(rows).reindex(columns=UTTERANCE_COLUMNS)
    write_table(table, UTTERANCE_COLUMNS, project / "data/utterances.csv")
    edit(project / "params.yaml", "extract:   ", "extract:\n  mine: {encoder: mine, frames: f2}\n  #")

    source = (project / "extract/encoders/opensmile.py").read_text()
    (project / "extract/encoders/mine.py").write_text(
        source.replace("extract.encoders.opensmile", "extract.encoders.mine")
    )
    line = '    "opensmile": "extract.encoders.opensmile:OpensmileEncoder",\n'
    edit(project / "extract/encoders/__init__.py", line, line + line.replace("opensmile", "mine", 2))

    changed = git(project, "status", "--porcelain", "extract").split("\n")
    assert sorted(filter(None, changed)) == [" M extract/encoders/__init__.py", "?? extract/encoders/mine.py"]
    assert "ok" in run(project, "evaluate.check")
    for stream in ("mine", "opensmile"):
        assert "2 ok, 1 too_short" in run(project, "extract", stream, EMOFUSE_MEDIA=str(media))
    with (
        FeatureCache(project / "data/features/mine.h5") as a,
        FeatureCache(project / "data/features/opensmile.h5") as b,
    ):
        np.testing.assert_array_equal(a.pooled(), b.pooled())
        assert a.meta.pooled_names == b.meta.pooled_names
        assert a.meta.fingerprint != b.meta.fingerprint
    assert "ok; 3 rows" in run(project, "pipeline.features", "verify", "data/features/mine.h5")
