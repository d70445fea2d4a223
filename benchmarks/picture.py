"""A picture of a page for README and docs: `make picture`, or `python -m benchmarks.picture PAGE.html PICTURE.png [WIDTH HEIGHT]`, in pixels.

docs/choice.png (1280 x 960) and docs/report.png (1280 x 900) are made so of the pages in docs/own_data.md; no photograph is in them.

Needs a Chromium on this machine (`apt-get install chromium`); playwright, which drives it, comes with `make setup`.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
WIDTH, HEIGHT, COLOURS = 1640, 1300, 128


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless, with a new empty profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=PROGRAM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def take(page: Path, picture: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """The upper part of the page in its light theme, as a PNG of few colours."""
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        shot = opened.screenshot()
    few = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    if PROGRAM is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    take(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
