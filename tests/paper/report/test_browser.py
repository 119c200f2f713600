"""The page in a browser, opened from disk: what its filters, tables, charts and dialog do."""

import base64
import json
import shutil
import subprocess

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
KEYS = ["dataset", "model", "penalty"]

pytestmark = pytest.mark.skipif(
    not (shutil.which(CHROMIUM) and shutil.which(DRIVER)),
    reason="NOT TESTED: the report in a browser, as chromium or chromedriver is not installed",
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(driver, made):
    """The page, freshly opened and at the size of a screen; afterwards, nothing was complained of."""
    size(driver, 1280, 900)
    driver.get(made.file.as_uri())
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def size(driver, width, height):
    values = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", values)


def until(driver, condition):
    return WebDriverWait(driver, 60).until(condition)


def element(driver, css):
    return driver.find_element(By.CSS_SELECTOR, css)


def press(driver, css):
    """Click on what may lie outside the window, or below the filters that stay on top."""
    found = element(driver, css)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    found.click()
    return found


def shown_rows(driver, table):
    """The cells' texts of each row of a table that is not hidden."""
    script = """return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(row => !row.hidden)
                .map(row => [...row.cells].map(cell => cell.textContent.trim()))"""
    return driver.execute_script(script, f"#{table}-table")


def draw(driver, place):
    """Bring a panel of charts into view and wait until all its charts are drawn; the panel."""
    panel = driver.find_elements(By.CSS_SELECTOR, ".panel")[place]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", panel)
    until(driver, lambda _: len(panel.find_elements(By.CSS_SELECTOR, ".vega svg")) == 5)
    return panel


def test_the_page_asks_for_nothing(page, made):
    draw(page, 0)
    assert page.execute_script("return performance.getEntriesByType('resource').map(each => each.name)") == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    # The browser's own first page, chrome://, asks for its parts too.
    asked = {each["request"]["url"] for each in sent if not each["documentURL"].startswith("chrome:")}
    assert {address for address in asked if not address.startswith("data:")} == {made.file.as_uri()}


@pytest.mark.parametrize(
    ("dataset", "model", "out"), [("shapes", "", ()), ("", "unet", ()), ("brain", "convnet", ("l1", "none"))]
)
def test_filters_leave_the_rows_that_they_name(page, made, dataset, model, out):
    Select(element(page, "[name=dataset]")).select_by_value(dataset)
    Select(element(page, "[name=model]")).select_by_value(model)
    for penalty in out:
        element(page, f"[name=penalty][value={penalty}]").click()
    page.execute_script("document.getElementById('cells').open = true; document.getElementById('numbers').open = true")
    until(page, lambda _: shown_rows(page, "cells"))
    until(page, lambda _: shown_rows(page, "numbers"))

    def kept(frame):
        mine = ~frame["penalty"].isin(out)
        for key, value in (("dataset", dataset), ("model", model)):
            mine &= (frame[key] == value) | (value == "")
        return int(mine.sum())

    frame, cells = made.frame, made.scores.cells
    assert len(shown_rows(page, "scores")) == kept(frame)
    assert len(shown_rows(page, "secondary")) == kept(frame[frame["penalty"] != "one class"])
    assert len(shown_rows(page, "cells")) == kept(cells)
    assert element(page, "[data-count=cells]").text == f"{kept(cells)} of {len(cells)} rows"
    panels = [each.is_displayed() for each in page.find_elements(By.CSS_SELECTOR, ".panel")]
    told = f"Showing {kept(frame)} of {len(frame)} rows of results and {sum(panels)} of 4 pairs of data set and model."
    assert element(page, "#shown").text == told
    assert element(page, "#shown").get_attribute("aria-live") == "polite"


def test_text_filters_rows_and_reset_brings_all_back(page, made):
    element(page, "[name=text]").send_keys("U-net SOFT")
    until(page, lambda _: len(shown_rows(page, "scores")) == 2)
    assert {tuple(row[:3]) for row in shown_rows(page, "scores")} == {
        (name, "U-Net", "soft (article)") for name in ("brain", "shapes")
    }
    element(page, "[name=text]").send_keys(" nowhere")
    until(page, lambda _: element(page, "[data-count=scores]").text == "no row matches the filters")
    element(page, "#filters [type=reset]").click()
    until(page, lambda _: len(shown_rows(page, "scores")) == len(made.frame))


def test_a_column_is_sorted_by_its_numbers(page, made):
    def told():
        return [row[7] for row in shown_rows(page, "scores") if row[2] != "one class"]

    before = told()
    heading = "#scores-table thead th:nth-child(8)"
    press(page, f"{heading} button")
    numbers = made.frame["nonzero_weights"].dropna()
    assert numbers.max() > 999 > numbers.min()  # so that the order of the texts, "1.0 k" before "697", is another
    texts = dict(zip(numbers, told(), strict=False))
    assert element(page, heading).get_attribute("aria-sort") == "ascending"
    assert [float(text.split(" ")[0]) for text in told()][:8] == sorted(numbers.round())[:8]
    assert "k" in told()[-1]
    press(page, f"{heading} button")
    assert element(page, heading).get_attribute("aria-sort") == "descending"
    assert "k" in told()[0]
    press(page, f"{heading} button")
    assert element(page, heading).get_attribute("aria-sort") is None
    assert told() == before
    assert texts


def test_strengths_are_sorted_as_numbers_and_dashes_come_last(page, made):
    page.execute_script("document.getElementById('cells').open = true")
    until(page, lambda _: shown_rows(page, "cells"))
    press(page, "#cells-table thead th:nth-child(6) button")
    strengths = [float(row[5]) for row in shown_rows(page, "cells")]
    assert strengths == sorted(made.scores.cells["lambda"].astype(float))
    press(page, "#cells-table thead th:nth-child(10) button")
    scores = [row[9] for row in shown_rows(page, "cells")]
    lost = int((made.scores.cells["status"] != "finished").sum())
    assert scores[-lost:] == ["–"] * lost
    assert [float(score) for score in scores[:-lost]] == sorted(float(score) for score in scores[:-lost])


def mark(page, panel, chart, text):
    """The mark of a chart whose accessible name begins with ``text``."""
    marks = panel.find_elements(By.CSS_SELECTOR, f"[data-chart={chart}] [aria-roledescription]")
    return next(each for each in marks if (each.get_attribute("aria-label") or "").startswith(text))


def tooltip(page, name="vg-tooltip-element"):
    script = """const tip = document.querySelector(`#${arguments[0]}.visible`);
                return tip && [...tip.querySelectorAll('tr')].map(row => [...row.cells].map(c => c.textContent))"""
    return page.execute_script(script, name)


def test_a_point_tells_its_numbers(page, made):
    curves = made.scores.curves
    row = curves[(curves[KEYS] == ["brain", "convnet", "l1"]).all(axis=1) & (curves["lambda"] == "1e-5")].iloc[0]
    panel = draw(page, 0)
    point = mark(page, panel, "validation-lambda", "L1, λ 1e-5")
    ActionChains(page).move_to_element(point).perform()
    told = dict(until(page, lambda _: tooltip(page)))
    assert told == {
        "penalty": "L1",
        "λ": "1e-5",
        "validation mIoU": f"{100 * row['val_miou']:.2f}",
        "standard error": f"{100 * row['val_se']:.2f}",
        "seeds": "2",
        "chosen as λ̂": "no",
    }


def test_charts_are_filtered_with_the_tables(page):
    panel = draw(page, 0)
    assert mark(page, panel, "test-lambda", "L2, λ 1e-4")
    element(page, "[name=penalty][value=l2]").click()
    script = "return [...arguments[0].querySelectorAll('[aria-label^=\"L2, \"]')].length"
    until(page, lambda _: page.execute_script(script, panel) == 0)
    assert mark(page, panel, "test-lambda", "L1, λ 1e-4")
    element(page, "#no-penalty").click()
    until(page, lambda _: len(panel.find_elements(By.CSS_SELECTOR, ".empty:not([hidden])")) == 5)
    assert {row[2] for row in shown_rows(page, "scores")} == {"one class"}


def test_a_click_on_a_point_opens_its_cells(page):
    panel = draw(page, 3)
    press_on = mark(page, panel, "pareto", "soft (article), λ 1e-5")
    ActionChains(page).move_to_element(press_on).click().perform()
    until(page, lambda _: element(page, "#cell").is_displayed())
    assert element(page, "#cell-title").text == "U-Net on shapes, soft (article)"
    assert Select(element(page, "#cell-pick")).first_selected_option.text == "λ 1e-5, seed 0: finished"


def facts(page):
    script = """const list = document.querySelector('#cell .facts');
                const texts = kind => [...list.querySelectorAll(kind)].map(each => each.textContent);
                return [texts('dt'), texts('dd')]"""
    names, values = page.execute_script(script)
    return dict(zip(names, values, strict=True))


def test_an_entry_of_the_matrix_opens_its_cells(page, made):
    press(page, """[data-open='["final", "brain", "convnet", "l2"]']""")
    until(page, lambda _: len(page.find_elements(By.CSS_SELECTOR, "#cell .vega svg")) == 2)
    Select(element(page, "#cell-pick")).select_by_index(1)
    until(page, lambda _: facts(page)["Seed"] == "101")
    assert page.switch_to.active_element.get_attribute("id") == "cell-pick"
    keys = ["final", "brain", "convnet", "l2", 101]
    names = ["phase", *KEYS, "seed"]
    cell = made.scores.cells[(made.scores.cells[names] == keys).all(axis=1)].iloc[0]
    time = made.scores.timings[(made.scores.timings[names] == keys).all(axis=1)].iloc[0]
    told = facts(page)
    assert element(page, "#cell .state").text == cell["status"]
    assert (told["λ"], told["Commit"], told["Device"]) == (cell["lambda"], time["commit"], time["device"])
    assert (told["Seconds"], told["Trained"]) == (f"{time['seconds']:.1f}", time["time"])
    assert told["Peak memory"] == f"{time['peak_memory'] / 2**20:.0f} MiB"
    tests = made.scores.final_test
    score = tests[(tests[[*KEYS, "seed"]] == keys[1:]).all(axis=1)]["miou"].item()
    assert told["Test mIoU"] == f"{100 * score:.2f}"


def test_a_history_tells_its_numbers_above_the_dialog(page, made):
    press(page, """[data-open='["final", "brain", "convnet", "l2"]']""")
    until(page, lambda _: len(page.find_elements(By.CSS_SELECTOR, "#cell .vega svg")) == 2)
    points = page.find_elements(By.CSS_SELECTOR, "#cell [data-history=val_miou] [aria-roledescription=point]")
    ActionChains(page).move_to_element(points[-1]).perform()
    history = made.scores.histories
    last = history[(history["phase"] == "final") & (history["seed"] == 100)].iloc[-1]
    told = until(page, lambda _: tooltip(page, "cell-tooltip"))
    assert told == [["epoch", str(last["epoch"])], ["validation mIoU (points)", f"{100 * last['val_miou']:.2f}"]]
    script = """const tip = document.getElementById('cell-tooltip'), at = tip.getBoundingClientRect();
                tip.style.pointerEvents = 'auto';
                return tip.contains(document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2))"""
    assert page.execute_script(script)


def test_a_final_cell_shows_image_truth_and_prediction(page, made):
    press(page, """[data-open='["final", "shapes", "unet", "soft"]']""")
    pictures = until(page, lambda _: page.find_elements(By.CSS_SELECTOR, "#cell .pictures img"))
    script = "return [...arguments[0]].map(each => [each.complete && each.naturalWidth, each.alt])"
    shown = until(page, lambda _: all(w for w, _ in page.execute_script(script, pictures)) and pictures)
    assert len(shown) == 3 * (made.scores.examples.to_pandas()["dataset"] == "shapes").sum()
    assert {width for width, _ in page.execute_script(script, pictures)} == {64}


def test_a_lost_cell_tells_reason_and_log(page, made):
    cells = made.scores.cells
    press(page, "#missing-table [data-cell]")
    lost = cells[cells["status"] != "finished"].iloc[0]
    until(page, lambda _: element(page, "#cell").is_displayed())
    assert element(page, "#cell .state").text == f"{lost['status']}: {lost['reason']}"
    assert facts(page)["Seed"] == str(lost["seed"])
    assert element(page, "#cell pre").text == lost["log_tail"]
    assert page.find_elements(By.CSS_SELECTOR, "#cell .vega") == []


def test_the_dialog_opens_and_closes_by_keyboard_alone(page):
    page.execute_script("document.getElementById('cells').open = true")
    until(page, lambda _: shown_rows(page, "cells"))
    keys = ActionChains(page)
    page.execute_script("document.querySelector('#cells summary').focus()")
    for _ in range(60):  # past the headings of the table, to the first row
        keys.send_keys(Keys.TAB).perform()
        keys.reset_actions()
        if page.switch_to.active_element.get_attribute("data-cell"):
            break
    opener = page.switch_to.active_element.get_attribute("data-cell")
    assert opener == "0"
    ActionChains(page).send_keys(Keys.ENTER).perform()
    until(page, lambda _: element(page, "#cell").is_displayed())
    for _ in range(12):
        ActionChains(page).send_keys(Keys.TAB).perform()
        # The browser's own bar counts as outside the page: focus never lies on what is behind the dialog.
        assert page.execute_script(
            "const at = document.activeElement; return at === document.body || !!at.closest('dialog')"
        )
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    until(page, lambda _: not element(page, "#cell").is_displayed())
    assert page.switch_to.active_element.get_attribute("data-cell") == opener


def test_a_heading_that_a_link_leads_to_is_not_covered(page):
    element(page, "nav [href='#coverage']").click()
    script = """const [heading, bar] = ['coverage-title', 'filters'].map(id => document.getElementById(id));
                return heading.getBoundingClientRect().top - bar.getBoundingClientRect().bottom"""
    assert until(page, lambda _: page.execute_script("return scrollY > 0"))
    assert page.execute_script(script) >= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_has_the_answer_the_forest_and_the_head_of_the_table(page, scheme):
    size(page, 1280, 800)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        script = "return [...arguments].map(css => document.querySelector(css).getBoundingClientRect().bottom)"
        places = page.execute_script(script, ".answer", "main img", "#diagnosis > summary", "#scores-table thead")
        assert all(0 < place <= 800 for place in places), places
        colour, paper = (
            page.execute_script(f"return getComputedStyle(document.body).{name}")
            for name in ("color", "backgroundColor")
        )
        light = [sum(map(int, each[4:-1].split(","))) for each in (colour, paper)]
        assert (light[0] < light[1]) is (scheme == "light")
        script = "const style = getComputedStyle(document.querySelector('main img')); return [style.backgroundColor, "
        paper, margin, dimmed = page.execute_script(f"{script}parseFloat(style.paddingLeft), style.filter]")
        assert paper == "rgb(255, 255, 255)"
        # In the dark a card of paper with a margin, not a glaring box.
        assert (margin > 8, dimmed != "none") == ((scheme == "dark"),) * 2
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [400, 1280])
def test_the_navigation_stays_on_top_and_takes_one_line(page, width):
    size(page, width, 800)
    page.execute_script("scrollTo(0, 3000)")
    assert until(page, lambda _: page.execute_script("return scrollY > 1000"))
    box = element(page, "nav").rect
    script = "return document.querySelector('nav').getBoundingClientRect().top"
    assert page.execute_script(script) == 0
    assert box["height"] < 45


def test_every_chart_is_drawn_without_scrolling(page):
    until(page, lambda _: len(page.find_elements(By.CSS_SELECTOR, ".panel .vega svg")) == 20)
    assert page.execute_script("return scrollY") == 0


def test_the_first_stop_of_the_keyboard_skips_to_the_answers(page):
    ActionChains(page).send_keys(Keys.TAB).perform()
    link = page.switch_to.active_element
    assert link.text == "Skip to the answer"
    assert link.rect["x"] >= 0
    link.send_keys(Keys.ENTER)
    until(page, lambda _: page.switch_to.active_element.get_attribute("id") == "main")


def test_controls_stay_off_paper(page):
    assert element(page, "#filters").is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = ["#filters", "nav", "#cells", "#curves"]
        assert [css for css in hidden if element(page, css).is_displayed()] == []
        assert element(page, "#scores-table").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="NOT TESTED: the printed page, as pdftotext is not installed")
def test_what_is_folded_is_printed_and_folded_again(page, tmp_path):
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(page.print_page()))
    printed = subprocess.run(["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True)
    text = " ".join(printed.stdout.split())
    assert text.count("Mean difference in test mIoU, in points") == 6
    assert "Caption of lambda_curves-brain." in text
    assert "rows with" not in text
    assert until(page, lambda _: page.execute_script("return !document.querySelector('.card details[open]')"))


@pytest.mark.parametrize("width", [360, 768])
def test_no_width_makes_the_page_scroll_sideways(page, width):
    size(page, width, 800)
    page.execute_script("document.querySelectorAll('details').forEach(each => (each.open = true))")
    for place in range(4):
        draw(page, place)
    script = "return [document.scrollingElement.scrollWidth, innerWidth]"
    whole, window = page.execute_script(script)
    assert whole <= window == width
    press(page, """[data-open='["final", "brain", "convnet", "l2"]']""")
    until(page, lambda _: len(page.find_elements(By.CSS_SELECTOR, "#cell .vega svg")) == 2)
    whole, window = page.execute_script(
        "const d = document.getElementById('cell'); return [d.scrollWidth, d.clientWidth]"
    )
    assert whole <= window


def test_every_control_and_picture_has_a_name(page):
    draw(page, 0)
    press(page, """[data-open='["final", "brain", "convnet", "l2"]']""")
    until(page, lambda _: len(page.find_elements(By.CSS_SELECTOR, "#cell .vega svg")) == 2)
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    frame = pd.DataFrame(
        [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node["ignored"] and "role" in node
        ]
    )
    named = frame[frame["role"].isin(["button", "combobox", "checkbox", "searchbox", "link", "image", "dialog"])]
    assert {"button", "combobox", "image", "dialog"} <= set(named["role"])
    assert named[named["name"].str.strip() == ""].empty
