"""`make picture`: the report as Chromium shows it. Needs Debian's `chromium` and `chromium-driver`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from docs import picture
from pipeline.errors import UserError

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver")
def test_a_picture_shows_the_first_screen_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<body style='margin: 0; background: #123456'><p style='height: 5000px'>", encoding="utf-8"
    )
    image = Image.open(io.BytesIO(picture.photograph(page, str(CHROMIUM), str(DRIVER))))
    assert image.size == (picture.WIDTH, picture.HEIGHT)
    assert image.convert("RGB").getpixel((10, 10)) == (0x12, 0x34, 0x56)


def test_without_a_report_the_message_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["docs.picture"])
    with pytest.raises(UserError, match=r"results/report\.html: no such file; run `dvc repro` first"):
        picture.main()
