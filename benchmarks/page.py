"""The leaderboard's page in headless Chromium: ``python -m benchmarks.page time`` and ``python -m benchmarks.page axe PAGE.html AXE.js``.

``time`` makes records of 10 boards of 100 rows from the shipped ones and gives the milliseconds from opening their page to its table being there and a heading sorting it.

``axe`` lists what axe-core (https://github.com/dequelabs/axe-core, MPL 2.0; ``npm pack axe-core`` fetches it) finds on a page: both themes, at desk and phone width, as opened and
with everything open. It ends with 1 where it finds something.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.picture import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BOARDS, ROWS, TRIALS = 10, 100, 7
SIZES = ((1440, 900), (390, 844))
_SORT = """() => {
  const before = performance.now();
  document.querySelectorAll("#measured th button")[2].click();
  document.body.offsetHeight;
  return performance.now() - before;
}"""


def times(browser: Browser, page: str) -> tuple[float, float, float]:
    """Three times in milliseconds: until the scripts have built and laid out the rows, processor time of the page's thread until the rest is built too, and one sort with its layout."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    session = opened.context.new_cdp_session(opened)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    opened.goto(page)
    interactive = opened.evaluate("() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    sort = opened.evaluate(_SORT)
    opened.close()
    return interactive, 1000 * metrics["TaskDuration"], sort


def violations(browser: Browser, page: str, axe: str) -> list[str]:
    """A line for each rule of axe-core that the page breaks."""
    lines = []
    for theme in ("light", "dark"):
        for width, height in SIZES:
            opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            opened.goto(page)
            opened.evaluate("(text) => (0, eval)(text)", axe)
            for state in ("as opened", "everything open"):
                if state == "everything open":
                    _open_everything(opened)
                result = opened.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
                assert result["passes"], "axe has looked at nothing"
                for rule in result["violations"]:
                    first = rule["nodes"][0]
                    lines.append(f"{theme}, {width} px, {state}: {rule['id']} ({len(rule['nodes'])}): {first['html'][:120]}")
            opened.close()
    return lines


def _open_everything(opened: Page) -> None:
    opened.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    if opened.locator("#measured").count():
        opened.locator("#measured button.name").first.press("Enter")
        for at in range(2):
            opened.locator("input.pick").nth(at).check()


def _time() -> None:
    from benchmarks.speed.leaderboard import copies
    from lt_bench.leaderboard.leaderboard import leaderboard

    with TemporaryDirectory() as folder, chromium() as browser:
        copies(Path(folder) / "results", BOARDS, ROWS, 2)
        (page,) = leaderboard(Path(folder) / "results").write(Path(folder) / "out", ["html"])
        trials = [times(browser, page.as_uri()) for _ in range(TRIALS)]
        names = ("interactive", "the whole page, processor", "a sort")
        for name, values in zip(names, zip(*trials, strict=True), strict=True):
            print(f"{name}: median {statistics.median(values):.0f} ms, {min(values):.0f} to {max(values):.0f} of {TRIALS}")
        print(f"{BOARDS} boards of {ROWS} rows, {page.stat().st_size / 1e6:.1f} MB")


def _axe(page: Path, axe: Path) -> None:
    with chromium() as browser:
        lines = violations(browser, page.resolve().as_uri(), axe.read_text(encoding="utf-8"))
    print("\n".join(lines) or "nothing found")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["time"]:
        _time()
    elif len(sys.argv) == 4 and sys.argv[1] == "axe":
        _axe(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(__doc__)
