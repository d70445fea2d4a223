"""YAML files of options: ``--config FILE``; of several files, the later wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import get_loader, set_dumper, set_loader

from lt_bench.core.documents import parse_yaml
from lt_bench.core.errors import UserError, unreadable

MODE = "lt_bench"


def load(text: str) -> Any:
    """YAML, with option names as the parser knows them: ``imbalance-factor`` as ``imbalance_factor``, ``strategy: los`` as ``strategy: {name: los}``."""
    parse_yaml(text)  # refuses documents on which the parser's own loader fails
    value = get_loader("yaml")(text)
    return _named(value) if isinstance(value, dict) else value


def _dump(document: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump({key: value for key, value in document.items() if key != "config"}, sort_keys=False)


set_loader(MODE, load, (ValueError,))
set_dumper(MODE, _dump)


def read(path: str) -> dict[str, Any]:
    """The options of a file.

    Raises:
        UserError: the file cannot be read, or holds something other than options and values.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        document = load(text)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if document is not None and not isinstance(document, dict):
        raise UserError(f"{path}: expected options and values, found a {type(document).__name__}")
    if not document:
        raise UserError(f"{path}: holds no options; leave it out, or see what it may hold with --print_config")
    return document


def _named(document: dict[Any, Any]) -> dict[str, Any]:
    config = {str(key).replace("-", "_"): value for key, value in document.items() if value is not None}
    if "strategy" in config:
        strategy = config["strategy"]
        if not isinstance(strategy, dict):
            several = isinstance(strategy, list) and all(isinstance(name, str) for name in strategy)
            strategy = {"name": ",".join(strategy) if several else str(strategy)}
        config["strategy"] = {str(key).replace("-", "_"): value for key, value in strategy.items() if value is not None}
    if isinstance(recipe := config.get("recipe"), dict):  # its numbers, and as `name` which one it is
        numbers = {str(key).replace("-", "_"): value for key, value in recipe.items() if value is not None}
        named = {key: numbers.pop(key) for key in ("name", "epochs") if key in numbers}
        del config["recipe"]
        config |= {{"name": "recipe"}.get(key, key): value for key, value in named.items()} | {"recipe_fields": numbers}
    if config.get("wandb") is False:
        config["wandb"] = "off"  # YAML reads off as false
    return config
