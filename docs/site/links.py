"""Pages of the site for files outside ``docs/`` that a page links to: the README, source files, tables of results."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".csv": "text", ".txt": "text", ".ipynb": "json"}
COPIED = {".parquet", ".png", ".svg", ".html", ".pdf"}
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
Rename = Callable[[str], str]


def page_of(path: str) -> str:
    """Address within the site of a file or folder of the repository, which is given from its root."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"repository/{path}/index.md"
    if path.endswith("README.md"):
        return f"repository/{posixpath.dirname(path)}/index.md"
    return f"repository/{path}" if Path(path).suffix in {*COPIED, ".md"} else f"repository/{path}.md"


def rewritten(text: str, path: str) -> str:
    """``text`` of the repository's file ``path`` with links to where their targets are on the site."""
    here = posixpath.dirname(page_of(path))

    def link(match: re.Match[str]) -> str:
        target = target_of(match[1], path)
        return match[0] if target is None else f"]({posixpath.relpath(page_of(target), here or '.')}{match[2] or ''})"

    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in _FENCED.split(text))


def target_of(link: str, path: str) -> str | None:
    """The file or folder of the repository that ``link`` of the file ``path`` means, or None for an address elsewhere."""
    if ":" in link:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    if not (ROOT / target).exists():
        raise FileNotFoundError(f"{path} links to {link}, and there is no {target}")
    folder_of_pages = target.startswith("docs/") and (ROOT / target).is_dir()
    return f"{target}/README.md" if folder_of_pages else target


def outside(pages: list[str]) -> dict[str, str | None]:
    """Every file outside ``docs/`` that ``pages``, or a page reached from them, links to: its text for the site, or None where it is copied as it is."""
    found: dict[str, str | None] = {}
    waiting = list(pages)
    while waiting:
        path = waiting.pop()
        text = (ROOT / path).read_text(encoding="utf-8") if path.endswith(".md") else ""
        for match in _LINK.finditer("".join(part for part in _FENCED.split(text) if not part.startswith("```"))):
            target = target_of(match[1], path)
            if target is None or target in found or target.startswith("docs/"):
                continue
            found[target] = None if Path(target).suffix in COPIED else _text(target)
            waiting.append(target)
    return found


def _text(path: str) -> str:
    """A file or folder as a page."""
    whole = ROOT / path
    if whole.is_dir():
        names = sorted(f"* `{one.name}`" for one in whole.iterdir() if not one.name.startswith((".", "__")))
        return f"# {path}\n\n" + "\n".join(names) + "\n"
    if whole.suffix == ".md":
        return rewritten(whole.read_text(encoding="utf-8"), path)
    return f"# {path}\n\n```{LANGUAGES.get(whole.suffix, 'text')}\n{whole.read_text(encoding='utf-8')}\n```\n"
