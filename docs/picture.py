"""Write docs/report.png: the top of results/report.html, as Chromium shows it.

    python -m docs.picture      # or `make picture`; after `dvc repro`

Needs Debian's `chromium` and `chromium-driver`, and the `selenium` of requirements-dev.txt.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.command import parser
from pipeline.errors import UserError, entry

REPORT = Path("results/report.html")
PICTURE = Path("docs/report.png")
WIDTH, HEIGHT = 1280, 1000


def main() -> None:
    """Write the picture.

    Raises:
        UserError: there is no report, or no browser.
    """
    parser("docs.picture", __doc__).parse_args()
    if not REPORT.exists():
        raise UserError(f"{REPORT}: no such file; run `dvc repro` first")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        raise UserError("chromium or chromedriver is missing; `apt-get install chromium chromium-driver`")
    PICTURE.write_bytes(photograph(REPORT, chromium, driver))
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


def photograph(page: Path, chromium: str, driver: str) -> bytes:
    """Return a PNG of the first screen of a page, WIDTH x HEIGHT pixels.

    Args:
        page: an HTML file.
        chromium: path of the browser.
        driver: path of its chromedriver.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    browser = webdriver.Chrome(options, Service(driver))
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.resolve().as_uri())
        return browser.get_screenshot_as_png()
    finally:
        browser.quit()


if __name__ == "__main__":
    entry(main)
