"""The page in a real Chromium, offline: it loads without a complaint or a request, and its filters work.

Needs Debian's `chromium` and `chromium-driver` and the `selenium` package; skipped where one is missing.
"""

from __future__ import annotations

import base64
import json
import shutil

import cv2
import numpy as np
import pytest

from evaluate.run import details, report
from evaluate.run.shown import faces_file
from tests.extract.make_clips import clip

selenium = pytest.importorskip("selenium", reason="pip install selenium")
from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import TimeoutException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"),
]


@pytest.fixture(scope="module")
def run(make_run):
    return make_run(
        seeds=2, skill=1.2, lines=("We got the house!", "<b>Fine.</b>", "Tell me again.", "Über alles")
    )


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(run, browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(report.render(run, details.details(run)), encoding="utf-8")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("data:", path.as_uri()))] == []


def shown(page) -> list[int]:
    script = "return [...document.querySelectorAll('.turn')].filter(t => t.checkVisibility()).map(t => +t.dataset.row)"
    return page.execute_script(script)


def rows(run) -> list[int]:
    return [i for group in run.test_dialogues() for i in group]


def settles(page, wanted: list[int]) -> bool:
    """Whether the page comes to show these turns: it filters a moment after the event."""
    return wait(page, lambda: shown(page) == wanted)


def wait(page, true) -> bool:
    try:
        return WebDriverWait(page, 60).until(lambda _: true())
    except TimeoutException:
        return False


def choose(page, name: str, text: str) -> None:
    Select(page.find_element(By.NAME, name)).select_by_visible_text(text)


def test_search_looks_in_the_text(run, page):
    assert settles(page, rows(run))
    page.find_element(By.NAME, "words").send_keys("the HOUSE")
    wanted = [i for i in rows(run) if "the house" in run.utterances[i].text.lower()]
    assert 0 < len(wanted) < len(rows(run))
    assert settles(page, wanted)
    assert page.find_element(By.CSS_SELECTOR, "output").text.startswith(
        f"{len(wanted)} of {len(rows(run))} turns"
    )
    page.find_element(By.NAME, "words").send_keys(" on the moon")
    assert settles(page, [])
    assert page.find_element(By.CSS_SELECTOR, ".none-left").is_displayed()


def test_filters_combine_and_clear(run, page):
    truth, predicted = run.truth, run.first.probabilities.argmax(1)
    choose(page, "verdict", "wrong")
    wrong = [i for i in rows(run) if truth[i] >= 0 and truth[i] != predicted[i]]
    assert settles(page, wrong)
    choose(page, "speaker", "Ada")
    assert settles(page, [i for i in wrong if run.utterances[i].speaker == "Ada"])
    label = run.names[truth[next(i for i in wrong if run.utterances[i].speaker == "Ada")]]
    choose(page, "truth", label)
    hits = [i for i in wrong if run.utterances[i].speaker == "Ada" and run.names[truth[i]] == label]
    assert settles(page, hits)
    page.find_element(By.NAME, "whole").click()
    around = {run.utterances[i].dialogue for i in hits}
    assert settles(page, [i for i in rows(run) if run.utterances[i].dialogue in around])
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    assert settles(page, rows(run))


def test_a_turn_opens_its_probabilities_with_each_modality_hidden(run, page):
    turn = page.find_element(By.CSS_SELECTOR, ".turn")
    turn.find_element(By.TAG_NAME, "summary").click()
    assert wait(page, lambda: turn.find_elements(By.TAG_NAME, "tr"))
    table = [
        [cell.text for cell in row.find_elements(By.XPATH, "./*")]
        for row in turn.find_elements(By.TAG_NAME, "tr")
    ]
    first = rows(run)[0]
    modalities = list(run.first.without)
    assert table[0] == ["Label", "All modalities", *(f"Without {m}" for m in modalities)]
    columns = [run.first.probabilities[first], *(run.first.without[m][first] for m in modalities)]
    for i, line in enumerate(table[1:]):
        assert line[0] == run.names[i]
        assert [float(v) for v in line[1:]] == pytest.approx([100 * c[i] for c in columns], abs=0.051)


def test_an_utterance_is_played_from_the_folder_that_the_reader_names(run, page, tmp_path):
    first = rows(run)[0]
    (tmp_path / "clips").mkdir()
    clip(tmp_path / f"clips/{run.utterances[first].media}", 1.0)
    field = page.find_element(By.CSS_SELECTOR, ".folder input")
    assert field.get_attribute("value") == "../data/demo/"
    field.clear()
    field.send_keys("clips")
    turn = page.find_element(By.CSS_SELECTOR, ".turn")
    turn.find_element(By.TAG_NAME, "summary").click()
    assert wait(page, lambda: turn.find_elements(By.CSS_SELECTOR, ".more button"))
    turn.find_element(By.CSS_SELECTOR, ".more button").click()
    assert wait(page, lambda: page.execute_script("return document.querySelector('video')?.videoWidth") == 64)
    field.clear()
    other = page.find_elements(By.CSS_SELECTOR, ".turn")[1]
    page.execute_script("arguments[0].querySelector('details').open = true", other)
    assert wait(page, lambda: other.find_elements(By.CSS_SELECTOR, ".more button"))
    page.execute_script("arguments[0].querySelector('.more button').click()", other)
    assert wait(page, lambda: "Check the folder of the recordings" in other.text)
    page.get_log("browser")  # Chromium reports the missing file
    page.get_log("performance")  # the two clips


def test_an_error_shows_the_faces_that_the_faces_page_wrote(run, page, tmp_path):
    first = details.details(run)["wrong"][0]["utterance"]
    folder = tmp_path / "faces/face"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / faces_file(first)), np.zeros((72, 288, 3), np.uint8))
    page.find_element(By.CSS_SELECTOR, ".faces button").click()
    widths = "return [...document.querySelectorAll('.errors img')].map(picture => picture.naturalWidth)"
    assert wait(page, lambda: page.execute_script(widths) == [288])
    shown, without = page.find_elements(By.CSS_SELECTOR, ".errors li")[:2]
    assert "no picture" not in shown.text
    assert "no picture of a face" in without.text
    page.get_log("browser")  # Chromium reports the missing files
    page.get_log("performance")


def test_the_attention_map_follows_the_chosen_pair(run, page):
    details_ = page.find_element(By.CSS_SELECTOR, ".attention")
    details_.find_element(By.TAG_NAME, "summary").click()
    assert wait(page, lambda: details_.find_elements(By.CSS_SELECTOR, ".pairs label"))
    details_.find_elements(By.CSS_SELECTOR, ".pairs label")[1].click()
    weight = run.first.attention[("text", "visual")][0]
    squares = "[...document.querySelectorAll('.map rect')]"
    opacity = page.execute_script(f"return {squares}.map(square => +square.getAttribute('fill-opacity'))")
    assert len(opacity) == weight.size
    assert opacity == pytest.approx((0.04 + 0.96 * weight / weight.max()).ravel(), abs=0.01)
    page.execute_script(f"{squares}[1].dispatchEvent(new Event('pointerenter'))")
    readout = details_.find_element(By.CSS_SELECTOR, ".readout").text
    assert readout == f"text of turn 0 Ada attends to visual of turn 1 Ben: {100 * weight[0, 1]:.1f}%"


def test_a_cell_of_the_confusion_matrix_shows_its_utterances(run, page):
    truth, predicted = run.truth, run.first.probabilities.argmax(1)
    cell = page.find_element(By.CSS_SELECTOR, ".confusion td:not(.hit) a")
    pair = int(cell.get_attribute("data-truth")), int(cell.get_attribute("data-predicted"))
    page.execute_script("arguments[0].click()", cell)
    assert settles(page, [i for i in rows(run) if (truth[i], predicted[i]) == pair])


def test_a_link_to_an_error_opens_its_turn_whatever_the_filters(run, page):
    choose(page, "verdict", "right")
    link = page.find_element(By.CSS_SELECTOR, ".errors a")
    page.execute_script("arguments[0].click()", link)
    wanted = details.details(run)["wrong"][0]["utterance"]
    assert settles(page, rows(run))
    opened = page.find_elements(By.CSS_SELECTOR, ".turn:has(> details[open])")
    assert [turn.get_attribute("data-utterance") for turn in opened] == [wanted]


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_a_desk(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide = page.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide == 0
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_prints(page):
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000
