"""Hooks of ``make site``: what mkdocs is given beside the pages of ``docs/``, and how formulas, papers and links are shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from formulas import in_prose, is_formula, mathml
from links import ROOT, outside, page_of, rewritten
from papers import code_links, entry_of

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

BOARD = ROOT / "build" / "leaderboard"
"""Folder in which ``make site`` writes the page and the plots of the shipped records."""
API = """# Python

`import lt_bench as lt` gives these names; they are all that is public.

::: lt_bench
"""
EMBEDDED = """---
hide: [navigation, toc]
---
# Leaderboard

The shipped suite: ten strategies with their own hyper-parameters and tuned, three seeds, on one cache of CIFAR-100-LT features.
[The page alone](board.html).

<iframe src="board.html" title="Leaderboard of the shipped suite" class="board"></iframe>
"""
MENDED = """
## Looked at one by one

On 28 November 2026, in print at the width of a column and on screens of 1400 and 390 pixels; what was mended then:

* gap, logits, norms and accuracy by size: the label below was longer than its axis, and its end cut off.
* critical difference and RSD across: letters were laid out narrower than they are printed, and the longest name was cut off (29 November).
* critical difference over boards: its bars joined rows that the table of differences tells apart; both now stand on one test (29 November).
* balance and time, head against tail, places by prior, DynaSmooth, difference by class: nothing.
* this gallery: figures were 320 pixels wide, too small to read on a screen; they are 620 now.
* the page: a name of a row showed no focus; bars of many, medium and few were all of one length, and now run between the ends of their column without its outliers; a button stood alone on a line.
* the comparison: its last columns were out of sight beside the table of contents.
"""
_WIDE = {"comparison.md"}
"""Pages whose tables need the room of the table of contents."""
_SPAN = re.compile(r"(^```[\s\S]*?^```|^\|.*$)|`([^`]+)`", re.MULTILINE)
_NO_PROSE = re.compile(r"^(?:#| *\* ).*$", re.MULTILINE)
_SHORT_CODE = re.compile(r"<code>([^<\n]{1,24})</code>")
_TESTS = re.compile(r"<td>((?:<code>tests/[^<]+</code>(?:, )?)+)</td>")
_FIGURE = re.compile(r'<p>(<img [^>]*?src="([^"]+)"[^>]*/>)</p>')
_PAGE_NAME = re.compile(r"(?<![\w/(\[])docs/(\w+)\.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A page for every strategy in the navigation."""
    names = sorted(path.name for path in (ROOT / "docs" / "strategies").glob("*.md") if path.name != "README.md")
    for entry in config.nav or []:
        if "Strategies" in entry:
            entry["Strategies"] = ["strategies/README.md", *(f"strategies/{name}" for name in names)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page, the Python interface, the leaderboard, the gallery, and the files that pages link to."""
    pages = [f"docs/{one.src_uri}" for one in files.documentation_pages()]
    texts = {page_of(path): text for path, text in outside([*pages, "README.md"]).items() if text is not None and path != "README.md"}
    texts["index.md"] = rewritten((ROOT / "README.md").read_text(encoding="utf-8"), "README.md")
    texts |= {"api.md": API, "leaderboard.md": EMBEDDED, "gallery.md": _gallery()}
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    copied = {page_of(path): ROOT / path for path, text in outside([*pages, "README.md"]).items() if text is None}
    copied |= {"board.html": BOARD / "leaderboard.html"} | {f"gallery/{path.name}": path for path in _figures()}
    for address, source in copied.items():
        files.append(File.generated(config, address, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of pages of ``docs/``; on pages of strategies also formulas, the code's address and a BibTeX entry."""
    address = page.file.src_uri
    if address in _WIDE:
        page.meta["hide"] = ["toc"]
    if (ROOT / "docs" / address).is_file():
        markdown = rewritten(markdown, f"docs/{address}")
    if address.startswith("strategies/"):
        markdown = _PAGE_NAME.sub(r"[\1](../\1.md)", with_formulas(markdown))
        source = re.search(r"^\* source: (.*)$", markdown, re.MULTILINE)
        if source is not None:
            markdown = markdown.replace(source[0], f"* source: {code_links(source[1])}") + entry_of(source[1])
    return markdown


def on_page_content(html: str, **_: object) -> str:
    """Short code stays on one line (``--tuned`` is not broken after its dashes), a cell of names of tests opens on request, and a figure opens alone."""
    html = _FIGURE.sub(r'<p><a href="\2" title="the figure alone">\1</a></p>', _TESTS.sub(_folded, html))
    return _SHORT_CODE.sub(r'<code class="short">\1</code>', html)


def _folded(match: re.Match[str]) -> str:
    names = match[1].split(", ")
    return f"<td><details><summary>{len(names)} {'test' if len(names) == 1 else 'tests'}</summary>{'<br>'.join(names)}</details></td>"


def with_formulas(markdown: str) -> str:
    """``markdown`` with every span of code that is a formula, and formulas of its prose, as MathML, but for tables and blocks of code."""
    drawn = {}
    for match in _SPAN.finditer(markdown):
        text = " ".join((match[2] or "").split())
        drawn[match.span()] = f"<span>{mathml(text)}</span>" if is_formula(text) else match[0]
    prose = _NO_PROSE.sub(_hidden, _SPAN.sub(_hidden, markdown))
    drawn |= {(start, end): f"<span>{mathml(' '.join(prose[start:end].split()), in_a_line=True)}</span>" for start, end in in_prose(prose)}
    for (start, end), element in sorted(drawn.items(), reverse=True):
        markdown = markdown[:start] + element + markdown[end:]
    return markdown


def _hidden(match: re.Match[str]) -> str:
    return "`" * len(match[0])


def _figures() -> list[Path]:
    return sorted((BOARD / "plots").rglob("*.svg"))


def _gallery() -> str:
    """Every plot of the shipped board."""
    figures = "\n\n".join(f"## {path.stem.replace('_', ' ').capitalize()}\n\n![{path.stem}](gallery/{path.name})" for path in _figures())
    return (
        "# Gallery\n\nThe plots of the shipped board, as `lt-bench leaderboard --formats plots` draws them; "
        f"[metrics](metrics.md) says what is on the axes.\n\n{figures}\n{MENDED}"
    )
