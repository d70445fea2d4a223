"""A page of one file without scripts, in the style of the leaderboard page: a report or a choice."""

from __future__ import annotations

from html import escape
from importlib import resources

from lt_bench.core.errors import printable


def html_document(kind: str, heading: str, under: str, main: str, *, style: str = "") -> str:
    """A whole HTML document that fetches nothing.

    Args:
        kind: of the page, behind the heading in its title.
        heading: text.
        under: text below the heading.
        main: HTML of the page; images as data.
        style: CSS beside that of the leaderboard page.
    """
    css = resources.files("lt_bench.leaderboard.page").joinpath("files", "page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{escaped(f"{heading}: {kind}")}</title>
<style>
{css}{style}
</style>
</head>
<body>
<header><div class="head"><h1>{escaped(heading)}</h1><p class="soft">{escaped(under)}</p></div></header>
<main>
{main}
</main>
</body>
</html>
"""


def cards(figures: list[tuple[str, str, str]]) -> str:
    """HTML of figures at the top of a page: label, value and what is said of it; a value may break after its underscores."""
    return (
        '<div id="summary">'
        + "".join(
            f'<div class="card"><div class="label">{escaped(label)}</div><div class="value">{breakable(value)}</div><div class="more">{escaped(more)}</div></div>'
            for label, value, more in figures
        )
        + "</div>"
    )


def escaped(text: str) -> str:
    """Text of an element: no markup, no command of a terminal."""
    return escape(printable(text))


def breakable(name: str) -> str:
    """A name that may be broken after its underscores, so that a table fits the page."""
    return escaped(name).replace("_", "_<wbr>")
