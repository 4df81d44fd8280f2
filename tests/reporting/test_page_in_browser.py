"""The page as a browser shows it: opened from disk, without JavaScript and without a network."""

from pathlib import Path

import pytest
from night_examples import TRUTH, fortnight
from reporting_examples import (
    HOSTILE,
    crowd_inputs,
    hostile_crowd,
    hostile_inputs,
    simulated_labels,
    trained_inputs,
    validation_result,
)

from repo.files import write_text
from repo.reporting.nights_page import render_nights
from repo.reporting.report import build_report, write_report
from repo.reporting.validation_page import render_validation

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def addresses(report, tmp_path_factory):
    """name → file address of a page."""
    many = {f"worker-{i:03}": 0.5 + i / 500 for i in range(227)}
    reports = {
        "simulated": report,
        "hostile": build_report(hostile_inputs()),
        "many": build_report(trained_inputs(simulated_labels(300, 3, many, first_bonus=0.4), coins=2)),
        "one": build_report(trained_inputs(simulated_labels(60, 1, {"ann": 0.8}))),
        "crowd": build_report(crowd_inputs()),
        "hostile-crowd": build_report(hostile_crowd()),
    }
    directory = tmp_path_factory.mktemp("pages")
    for name, built in reports.items():
        write_report(built, directory / name)
    write_text(directory / "validation/report.html", render_validation(validation_result(reason=HOSTILE, file=HOSTILE)))
    write_text(directory / "nights/report.html", render_nights(fortnight(), TRUTH))
    return {name: (directory / name / "report.html").as_uri() for name in [*reports, "validation", "nights"]}


@pytest.mark.parametrize(
    "name", ["simulated", "hostile", "many", "one", "crowd", "hostile-crowd", "validation", "nights"]
)
@pytest.mark.parametrize("width", [390, 1400])
def test_a_page_opens_quietly_alone_and_fits_its_window(browser, addresses, name, width):
    requests, complaints = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=False, offline=True)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(addresses[name])
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [addresses[name]]
    widths = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
    assert max(widths) <= width
    assert page.locator("h1").count() == 1
    assert page.locator("h2").count() >= 3
    context.close()


def test_injected_script_does_not_run_even_where_scripts_may(browser, addresses):
    page = browser.new_page()
    page.goto(addresses["hostile"])
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("script").count() == 0
    assert "<script>window.hacked=1</script>" in page.locator(".label").first.inner_text()
    page.close()


def test_figures_and_tables_can_be_read_without_seeing_them(browser, addresses):
    page = browser.new_page()
    page.goto(addresses["simulated"])
    assert page.get_by_role("img").count() == 5
    assert all(page.locator(".drawing").evaluate_all("all => all.map(d => d.getAttribute('aria-label').length > 40)"))
    assert page.get_by_role("columnheader", name="Reliability", exact=True).count() == 1
    assert page.get_by_role("rowheader", name="adversarial-1").count() == 2
    assert page.get_by_role("columnheader", name="90% interval").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.close()


def test_the_nights_can_be_read_without_seeing_them(browser, addresses):
    page = browser.new_page()
    page.goto(addresses["nights"])
    assert page.get_by_role("img").count() == 13, "eleven annotators, the accuracy, the batches"
    assert page.get_by_role("img", name="careful-4. Reliability over 12 nights").count() == 1
    assert all(page.locator(".drawing").evaluate_all("all => all.map(d => d.getAttribute('aria-label').length > 40)"))
    assert page.get_by_role("rowheader", name="day-10").count() == 1
    assert page.get_by_role("columnheader", name="Champion after").count() == 1
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_panels_stand_side_by_side_and_their_text_can_be_read(browser, addresses, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(addresses["nights"])
    boxes = page.locator(".panels figure").evaluate_all("all => all.map(f => f.getBoundingClientRect().top)")
    assert boxes[0] == boxes[1]
    scale = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    assert page.locator(".panels svg").first.evaluate(scale) > 1, "nine units are nine pixels or more"
    page.close()


def test_a_drawn_interval_and_its_estimate_lie_where_the_numbers_say(browser, addresses):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(addresses["simulated"])
    row = page.locator("table.annotators tbody tr").last
    ends = """row => {
      const box = selector => row.querySelector(selector).getBoundingClientRect();
      const scale = box('.scale'), band = box('.scale i'), dot = box('.scale u');
      return [band.left, band.right, (dot.left + dot.right) / 2].map(x => (x - scale.left) / scale.width);
    }"""
    low, high, value = row.evaluate(ends)
    shown = [float(number) for number in row.locator("td").nth(1).inner_text().split("–")]
    assert [low, high] == pytest.approx(shown, abs=0.01)
    assert value == pytest.approx(float(row.locator(".value").inner_text()), abs=0.01)
    page.close()


@pytest.mark.parametrize("name", ["simulated", "many", "crowd", "hostile-crowd", "nights"])
def test_no_table_is_cut_where_the_page_is_printed(browser, addresses, name):
    page = browser.new_page(viewport={"width": 688, "height": 1000})  # A4 less the margins
    page.emulate_media(media="print")
    page.goto(addresses[name])
    assert page.locator("nav").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    page.close()


PAIRS = [
    ("--ink", "--paper"),
    ("--ink", "--warn"),
    ("--muted", "--paper"),
    ("--muted", "--raised"),
    ("--blue", "--paper"),
    ("--blue", "--tint"),
    ("--orange", "--raised"),
    ("--good", "--paper"),
    *[("--ink", f"--h{level}") for level in range(8)],
]


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_colours_have_enough_contrast_in_both_schemes(browser, addresses, scheme):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(addresses["simulated"])
    value = "name => getComputedStyle(document.documentElement).getPropertyValue(name)"
    for text, ground in PAIRS:
        low, high = sorted(luminance(page.evaluate(value, name)) for name in (text, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    context.close()
