"""The page as a reader meets it, in headless Chromium; left out where no Chromium is on the machine (`apt-get install chromium`)."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import picture
from benchmarks.page import violations
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.results.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        picture.PROGRAM is None, reason="no chromium, chromium-browser or google-chrome on the path: apt-get install chromium"
    ),
]

ROWS = "#measured tr.row"


@pytest.fixture(scope="module")
def html(tmp_path_factory, builder):
    """Two datasets, of which one has two protocols; plots inside."""
    folder = tmp_path_factory.mktemp("page")
    store = Store(folder / "results")
    for made in (builder, replace(builder, dataset="cifar100_lt", cache_key="cache-b"), replace(builder, protocol="images-eval")):
        for seed in range(2):
            for name, skill in (("los", 1.0), ("balanced_softmax", 0.8), ("ce", 0.0)):
                store.write(*made.make(name, seed, skill))
        store.write(*made.make("joint", 0, 0.0, trains="nothing"))
        store.write(*made.make("tau_norm", 0, 0.5, trains="nothing", kind="tuned"))
    return leaderboard(store.directory).write(folder, ("html", "plots"))[0].as_uri()


@pytest.fixture(scope="module")
def browser():
    with picture.chromium() as started:
        yield started


@pytest.fixture(params=[{"width": 1440, "height": 900}, {"width": 390, "height": 844}], ids=["desk", "phone"])
def opened(browser, html, request):
    """The page at both widths; whatever it says on the console, fails at or asks from a network fails the test."""
    said = []
    page = browser.new_page(viewport=request.param, color_scheme="light")
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url))
    page.goto(html)
    yield page
    page.close()
    assert said == []


def names(page):
    return page.locator("#measured button.name").all_inner_texts()


def numbers(page, title):
    head = page.locator("#measured thead th").all_inner_texts()
    position = next(index for index, text in enumerate(head) if text.split(" ")[0] == title)
    return [float(row.locator("td").nth(position).inner_text().split(" ")[0]) for row in page.locator(ROWS).all()]


def test_a_heading_sorts_and_sorts_back(opened):
    before = names(opened)
    assert numbers(opened, "Accuracy") == sorted(numbers(opened, "Accuracy"), reverse=True)
    few = opened.locator("#measured th button", has_text="Few")
    few.click()
    assert numbers(opened, "Few") == sorted(numbers(opened, "Few"), reverse=True)
    assert opened.locator("#measured th[aria-sort=descending]").inner_text().startswith("Few")
    opened.locator("#measured th button", has_text="Few").click()
    assert numbers(opened, "Few") == sorted(numbers(opened, "Few"))
    assert sorted(before) == sorted(names(opened))
    opened.keyboard.press("Enter")  # the heading keeps the focus
    assert numbers(opened, "Few") == sorted(numbers(opened, "Few"), reverse=True)


def test_the_filter_keeps_what_fits(opened):
    opened.locator("#filter").fill("tuned")
    assert names(opened) == ["tau_norm"]
    assert opened.locator("#count").inner_text().startswith("1 of 5 rows")
    opened.locator("#filter").fill("nothing like it")
    assert names(opened) == []
    opened.locator("#filter").fill("")
    assert len(names(opened)) == 5


def test_dataset_and_protocol_are_switched(opened):
    assert opened.locator("#dataset").input_value() == "cifar100_lt, IF 100"
    opened.locator("#dataset").select_option("cifar10_lt, IF 100")
    options = opened.locator("#protocol option").all_inner_texts()
    assert [text.split(", ")[-2] for text in options] == ["clean", "images-eval"]
    opened.locator("#protocol").select_option(index=1)
    assert "protocol images-eval" in opened.locator("#identity").inner_text()
    assert "images-eval" in opened.url  # the address leads back to this board
    opened.reload()
    assert "protocol images-eval" in opened.locator("#identity").inner_text()


def test_a_detail_opens_by_click_and_by_key_and_closes(opened):
    opened.locator(ROWS).first.click()
    detail = opened.locator("tr.detail")
    assert "lt-bench run --strategy" in detail.inner_text()
    assert "epsilon" in detail.inner_text()
    opened.locator("#measured button.name").first.press("Enter")
    assert detail.count() == 0
    assert opened.evaluate("document.activeElement.innerText") == names(opened)[0]  # the name keeps the focus


def test_what_was_chosen_stands_in_the_address(opened):
    opened.locator("#choice summary").click()
    opened.locator("#choice input[value=nll]").check()
    opened.locator("#choice summary").click()
    opened.locator("#measured th button", has_text="NLL").click()
    for label in ("compare los", "compare joint"):
        opened.get_by_label(label, exact=True).check()
    assert "los minus joint: " in opened.locator("#compare").inner_text()
    assert "paired over test images" in opened.locator("#compare").inner_text()
    shown = [opened.locator(one).inner_text() for one in ("#measured thead", "#compare", "#measured th[aria-sort]")]
    opened.reload()
    assert [opened.locator(one).inner_text() for one in ("#measured thead", "#compare", "#measured th[aria-sort]")] == shown
    assert opened.evaluate("document.documentElement.scrollWidth") == opened.viewport_size["width"]


def test_what_is_shown_is_downloaded(opened):
    opened.locator("#filter").fill("tuned")
    with opened.expect_download() as download:
        opened.locator("#download").click()
    lines = list(csv.reader(Path(download.value.path()).read_text().splitlines()))
    assert lines[0][:3] == ["Strategy", "Rank", "Accuracy"]
    assert [line[0] for line in lines[1:]] == ["tau_norm (tuned)"]


def test_a_test_prior_ranks_anew(opened):
    opened.locator("#prior").select_option(label="Backward 50")
    assert numbers(opened, "Backward") == sorted(numbers(opened, "Backward"), reverse=True)
    assert opened.locator(f"{ROWS} td:nth-child(2)").all_inner_texts() == [str(place) for place in range(1, 6)]
    shown = names(opened)
    assert "intervals over seeds, no tests" in opened.locator("#count").inner_text()
    assert "prior=backward_50" in opened.url
    opened.reload()
    assert names(opened) == shown
    opened.locator("#prior").select_option(label="as ranked")
    assert "prior" not in opened.url
    assert "95 % over test images" in opened.locator("svg.interval title").first.text_content()


def test_classes_are_sorted_found_and_compared(opened):
    body = "#byclass tbody tr"
    opened.locator("#classes summary").click()
    opened.locator(body).first.wait_for()  # the table is made when the browser says that it is open, a moment after the click
    assert opened.locator(body).count() == 10
    assert opened.locator(f"{body}:first-child td").all_text_contents()[:3] == ["class 0", "many", "500"]
    for label in ("compare los", "compare ce"):
        opened.get_by_label(label, exact=True).check()
    heads = opened.locator("#byclass th").all_text_contents()
    assert heads[4:] == ["los", "ce", "Difference"]
    opened.locator("#byclass th button", has_text="Difference").click()
    apart = [float(text) for text in opened.locator(f"{body} td:last-child").all_text_contents()]
    assert apart == sorted(apart, reverse=True)
    one, other, difference = map(float, opened.locator(f"{body}:first-child td").all_text_contents()[4:])
    assert difference == pytest.approx(one - other, abs=0.11)
    opened.locator("#class").fill("few")
    shown = opened.locator(body).all_text_contents()
    assert len(shown) == 3
    opened.reload()
    opened.locator(body).first.wait_for()
    assert opened.locator(body).all_text_contents() == shown
    assert opened.locator("#byclass th[aria-sort=descending]").text_content() == "Difference"


def test_boards_have_an_index_that_opens_them(opened):
    entries = opened.locator("#boards button.board")
    assert entries.count() == 3
    opened.locator("#across tbody tr").first.wait_for()
    common = [line.split("\t")[0] for line in opened.locator("#across tbody tr").all_inner_texts()]
    assert sorted(common) == ["balanced_softmax", "ce", "joint", "los", "tau_norm (tuned)"]
    assert entries.first.get_attribute("aria-current") == "true"
    assert opened.locator("#boards th").all_text_contents()[4:] == common
    entries.first.focus()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    assert "cifar10_lt" in opened.locator("#identity").inner_text()
    assert opened.evaluate("document.activeElement.getAttribute('aria-current')") == "true"  # the entry keeps the focus
    opened.locator("#across button.board").first.click()
    assert "cifar100_lt" in opened.locator("#identity").inner_text()


FOCUSED = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  const look = getComputedStyle(one);
  return [one.id || one.className || one.textContent.slice(0, 30), look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0];
}"""


def test_everything_is_reached_by_tab_and_shows_its_focus(opened):
    opened.locator("#choice summary").focus()
    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Escape")
    assert opened.evaluate("[document.getElementById('choice').open, document.activeElement.textContent]") == [False, "Choose columns"]
    opened.reload()
    reached = []
    for _ in range(90):
        opened.keyboard.press("Tab")
        focused = opened.evaluate(FOCUSED)
        if focused is None:
            break
        reached.append(focused)
    wanted = {"theme", "board", "dataset", "protocol", "prior", "filter", "all", "download", "measured", "pick", "name", "enlarge"}
    assert wanted - {name for name, _ in reached} == set()
    assert [name for name, visible in reached if not visible] == []
    opened.locator("#measured button.name").first.focus()
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate("document.activeElement.textContent") == names(opened)[1].replace("\n", "")
    opened.locator("#measured th button").first.focus()
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.textContent") == "Rank"


AXE = os.environ.get("LT_BENCH_AXE", "")


@pytest.mark.skipif(not AXE, reason="LT_BENCH_AXE does not name axe.min.js of axe-core: npm pack axe-core")
def test_axe_finds_nothing(browser, html):
    assert violations(browser, html, Path(AXE).read_text(encoding="utf-8")) == []


CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || ![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(node.className + " " + node.textContent.slice(0, 40) + " " + (a + 0.05) / (b + 0.05));
  }
  return low;
}"""


def test_all_text_has_contrast_in_both_themes(opened):
    opened.locator(ROWS).first.click()
    opened.locator("#legend summary").click()
    assert opened.evaluate(CONTRASTS) == []
    opened.locator("#theme").click()
    assert opened.evaluate(CONTRASTS) == []


def test_both_themes(opened):
    background = lambda: opened.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light = background()
    opened.locator("#theme").click()
    dark = background()
    assert sum(map(int, light[4:-1].split(","))) > 600 > 200 > sum(map(int, dark[4:-1].split(",")))
    opened.locator("#theme").click()
    assert background() == light


def test_the_width_is_that_of_the_screen(opened):
    opened.locator(ROWS).first.click()
    wide = opened.viewport_size["width"]
    assert opened.evaluate("document.documentElement.scrollWidth") == wide
    shown = opened.locator("#measured thead th >> visible=true").count()
    assert (shown > 9) if wide > 1000 else (shown == 5)
    table = opened.locator("#measured table").bounding_box()
    assert wide > 1000 or table["width"] <= wide  # on a phone the columns that are shown fit
    opened.locator("#all").check()
    assert opened.locator("#measured thead th >> visible=true").count() > 20
    assert opened.evaluate("document.documentElement.scrollWidth") == wide


def test_plots_are_drawn_and_grow(opened):
    figures = opened.locator("figure")
    assert figures.count() > 9
    assert opened.evaluate("[...document.querySelectorAll('figure img')].every((image) => image.complete && image.naturalWidth > 100)")
    for enlarge in (figures.first.click, lambda: opened.locator("figure button").first.press("Enter")):
        enlarge()
        assert opened.locator("#large").is_visible()
        opened.keyboard.press("Escape")
        assert not opened.locator("#large").is_visible()


def test_the_legend_and_published_numbers(opened):
    opened.locator("#legend summary").click()
    assert "logits magnitude" in opened.locator("#legend").inner_text()
    assert "Measured beside published" in opened.locator("#beside").inner_text()
    opened.locator("#published summary").click()
    assert opened.locator("#published tbody tr").count() > 20
