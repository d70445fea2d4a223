"""Sources of a strategy: links to the authors' code, and a BibTeX entry of what the strategy's file states."""

from __future__ import annotations

import re
from urllib.parse import quote

_REPOSITORY = re.compile(r"(?<![\w/`])([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?![\w/])")
_PAPER = re.compile(
    r"(?P<authors>[^,;:]+(?: et al\.)?(?:, [A-Z][a-z]+)*), (?P<title>[A-Z0-9].+), (?P<venue>[A-Za-z. ]+?(?: workshops)?) (?P<year>\d{4})"
)


def code_links(source: str) -> str:
    """``source`` with the repositories of ``code owner/name`` as links, and a search for the paper's title."""
    paper, marker, code = source.partition("; code ")
    found = _PAPER.match(paper)
    if found is not None:
        address = f"https://www.semanticscholar.org/search?q={quote(found['title'])}"
        paper = paper.replace(found["title"], f"[{found['title']}]({address})")
    return paper + marker + _REPOSITORY.sub(r"[\1](https://github.com/\1)", code)


def entry_of(source: str) -> str:
    """A BibTeX entry with the authors, title, venue and year that ``source`` states, or nothing where it states no title."""
    found = _PAPER.match(source.partition(";")[0])
    if found is None:
        return ""
    authors = found["authors"].replace(" et al.", " and others")
    key = re.sub(r"\W", "", authors.split(" and ")[0].lower()) + found["year"] + re.sub(r"\W.*", "", found["title"].lower())
    lines = [
        f"author = {{{authors}}}",
        f"title = {{{{{found['title']}}}}}",
        f"booktitle = {{{found['venue']}}}",
        f"year = {{{found['year']}}}",
    ]
    body = ",\n  ".join(lines)
    return f"\n## To cite the method\n\n```bibtex\n@inproceedings{{{key},\n  {body}\n}}\n```\n"
