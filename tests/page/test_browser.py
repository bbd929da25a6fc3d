"""Each tab in a real browser: what a visitor clicks, types, hears and saves."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow  # a browser starts for each test

TABS = {
    "classify": "#classify-answer .card",
    "layers": "#layers-answer figure",
    "language-model": "#lm-gap-answer figure",
    "runs": "#runs-confusions figure",
}


def opened(page: Page, address: str, tab: str) -> Page:
    page.goto(f"{address}/{tab}")
    page.wait_for_selector(TABS[tab])
    return page


def fill(page: Page, name: str, text: str) -> None:
    page.locator(f"#{name}").fill(text)


def test_the_tabs_have_addresses_and_keep_what_was_typed(page: Page, address: str) -> None:
    page.goto(f"{address}/")
    page.wait_for_selector(TABS["classify"])
    fill(page, "classify-text", "A typed sentence.")
    for tab, title in (("layers", "Layers"), ("runs", "Runs"), ("classify", "Classify")):
        page.get_by_role("navigation").get_by_text(title, exact=True).click()
        page.wait_for_url(f"{address}/{tab}")
        expect(page.locator("main > section:visible")).to_have_count(1)
        expect(page.locator(f"#panel-{tab}")).to_be_visible()
        expect(page.locator(f"#tab-{tab}")).to_have_attribute("aria-current", "page")
        assert page.title() == f"{title} · elmo"
    expect(page.locator("#classify-text")).to_have_value("A typed sentence.")
    page.go_back()
    expect(page.locator("#panel-runs")).to_be_visible()


def test_an_unknown_address_is_said(page: Page, address: str) -> None:
    page.goto(f"{address}/nowhere")
    expect(page.get_by_role("alert")).to_have_text("No page has the address /nowhere.")
    expect(page.locator("#panel-classify")).to_be_visible()
    page.get_by_role("navigation").get_by_text("Runs").click()
    expect(page.locator("#panel-runs")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_classify(page: Page, address: str) -> None:
    opened(page, address, "classify")
    expect(page.locator("#classify-answer .card")).to_have_count(3)
    fill(page, "classify-text", "<script>document.title='broken'</script> 1<b onload=x 😀 &amp;lt;")
    page.get_by_role("button", name="Classify").click()
    strip = page.locator("#classify-answer .card .strip").first
    expect(strip).to_contain_text("😀")
    expect(strip).to_contain_text("<")
    assert page.title() == "Classify · elmo"
    assert page.locator("#classify-answer script").count() == 0
    fill(page, "classify-text", "")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_have_text("the sentence has no words; type some")

    fill(page, "classify-text", "word " * 100_000)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("500,000 characters; the page takes 20,000")


def test_the_keyboard_reaches_everything(page: Page, address: str) -> None:
    opened(page, address, "classify")
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("() => document.activeElement.textContent || document.activeElement.id")
        )
    wanted = ["Skip to the content", "Classify", "Layers", "Language model", "Runs"]
    assert reached[:5] == wanted
    assert reached[5].startswith("The central bank")  # the sentence, then a list of examples ...
    assert reached.index("Classify", 5) == 8
    page.locator("#classify-go").focus()
    fill(page, "classify-text", "River")
    page.locator("#classify-go").press("Enter")
    expect(page.locator(".strip").first).to_contain_text("River")


def test_layers(page: Page, address: str) -> None:
    opened(page, address, "layers")
    expect(page.locator("#layers-answer figure")).to_have_count(2)  # similarity and map
    fill(page, "layers-a", "Nothing here")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("sentence A has no word 'bank'")
    fill(page, "layers-a", "The bank raised its rates")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#layers-answer table").first).to_be_attached()
    expect(page.locator("#layers-answer .js-plotly-plot")).to_have_count(2)


def test_language_model(page: Page, address: str) -> None:
    opened(page, address, "language-model")
    expect(page.locator("#lm-answer .strip li")).to_have_count(14)
    page.get_by_role("radio", name="the words before").check()
    expect(page.locator("#lm-answer .strip")).to_have_attribute(
        "aria-label", "words and their surprise in bits, given the words before"
    )
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#lm-gap-answer")).to_contain_text("there is “bank”")
    gap = page.locator("#panel-language-model .dash-slider-container input[type=number]")
    gap.fill("")
    gap.press("Tab")
    expect(page.get_by_role("alert")).to_have_text("gap: expected a number from 0 to 14")
    fill(page, "lm-prompt", "the bank")
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#lm-written li")).to_have_count(3)
    first = page.locator("#lm-written").inner_text()
    fill(page, "lm-seed", "5")
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#lm-written")).not_to_have_text(first)


def test_runs(page: Page, address: str) -> None:
    opened(page, address, "runs")
    heading = page.locator("#runs-table").get_by_text("test accuracy")
    first = page.locator('[row-index="0"] [col-id="run"]')
    heading.click()
    expect(first).to_have_text("biLM")  # the accuracy of its words
    heading.click()
    expect(first).to_have_text("ELMo, learned with matrices")  # the released one
    cell = page.locator("#runs-confusions .js-plotly-plot").first.locator(".nsewdrag")
    box = cell.bounding_box()
    assert box
    cell.click(position={"x": box["width"] / 8, "y": box["height"] / 8})  # World, World
    expect(page.locator("#runs-rows caption")).to_contain_text("test rows of World taken for World")
    page.get_by_role("radio", name="validation").check()
    expect(page.get_by_role("alert")).to_contain_text("no predictions of the validation split")
    expect(page.locator("#runs-learning figure")).to_have_count(1)
    with page.context.expect_page() as opening:
        page.locator("#runs-links a").first.click()
    expect(opening.value.get_by_text("metrics.json")).to_be_visible()


def test_a_run_that_is_deleted_meanwhile_is_said(page: Page, address: str, runs: Path) -> None:
    shutil.copytree(runs / "svm", runs / "new")
    opened(page, address, "runs")
    shutil.rmtree(runs / "new")
    page.locator("#runs-table .ag-header-select-all input").first.check()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No run is behind 1 of the ticked rows")
    expect(page.locator("#runs-links a")).to_have_count(8)


def test_exports(page: Page, address: str, tmp_path: Path) -> None:
    opened(page, address, "classify")
    page.wait_for_selector("#classify-answer .js-plotly-plot .bars")
    saved = {}
    for kind in ("svg", "png", "csv"):
        with page.expect_download() as saving:
            page.get_by_role("button", name=kind.upper(), exact=True).first.click()
        assert saving.value.suggested_filename == f"effects.{kind}"
        saving.value.save_as(tmp_path / kind)
        saved[kind] = (tmp_path / kind).read_bytes()
    assert saved["svg"].startswith(b"<svg")
    assert saved["png"].startswith(b"\x89PNG")
    header, *rows = csv.reader(saved["csv"].decode().splitlines())
    assert header == ["word", "ELMo, learned", "ELMo, trainable", "Word2Vec"]
    assert [row[0] for row in rows][:2] == ["The", "central"]


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_fits_and_reads(scheme: str, width: int, page: Page, address: str) -> None:
    """No sideways scrolling, no control without a name, enough contrast in both colour schemes."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    for tab in TABS:
        opened(page, address, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        nameless = page.evaluate(NAMELESS)
        assert nameless == [], tab
        faint = page.evaluate(CONTRAST)
        assert faint == [], tab
    table = page.locator("#runs-table .ag-root-wrapper")
    colour = "e => getComputedStyle(e).backgroundColor"
    assert table.evaluate(colour) == page.locator("body").evaluate(colour)


NAMELESS = """() => [...document.querySelectorAll('main :is(input, textarea, button, a)')]
  .filter((e) => e.offsetParent && e.getAttribute('aria-hidden') !== 'true' && e.tabIndex >= 0)
  .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.title
    || (e.labels && e.labels.length) || e.closest('[role=group][aria-labelledby]')
    || e.closest('.ag-root-wrapper')))
  .map((e) => e.outerHTML.slice(0, 120))"""

# WCAG's contrast of text and the colour behind it, 4.5 to 1.
CONTRAST = """() => {
  const channels = (colour) => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) =>
    top.slice(0, 3).map((c, i) => (c * top[3] + below[i] * (255 - top[3])) / 255);
  const light = (rgb) => rgb.map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(channels(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const faint = [];
  for (const e of document.querySelectorAll('header *, main section:not([hidden]) *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest('svg')) continue;
    const below = behind(e);
    const text = over(channels(getComputedStyle(e).color), below);
    const [dark, bright] = [light(text), light(below)].sort((a, b) => a - b);
    if ((bright + 0.05) / (dark + 0.05) < 4.5) faint.push(e.outerHTML.slice(0, 120));
  }
  return faint;
}"""
