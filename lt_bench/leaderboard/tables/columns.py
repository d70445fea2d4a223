"""The columns of a table: a registry that a user's own module can add to.

    from lt_bench.leaderboard.tables.columns import Column, register
    register(Column("nll", "NLL", lambda row: row.estimate("test/nll"), better="lower", about="mean negative log-likelihood on test"))

and then `lt-bench leaderboard --columns my_package.my_columns`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeVar

import numpy as np

from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.core.lean_import import import_torchmetrics_whole
from lt_bench.core.names import search_current_folder
from lt_bench.core.provenance import fingerprints
from lt_bench.leaderboard.boards import Interval, Row
from lt_bench.leaderboard.intervals import Estimate, ends_text, seed_interval
from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective
from lt_bench.leaderboard.over_images import Ends, of_accuracy, of_gap, of_objective, of_share, of_shots
from lt_bench.leaderboard.priors import (
    IMBALANCES,
    at_prior,
    at_prior_over_images,
    at_tail_over_images,
    at_usual_tail,
    prior_name,
    told_tail,
)
from lt_bench.leaderboard.published.published import Published, nearest, same_backbone
from lt_bench.leaderboard.seeds import seed_text
from lt_bench.results.health import signs_in

Value = Estimate | float | int | str | None
T = TypeVar("T")
Style = Literal["percent", "number", "fixed", "seconds", "count", "text"]


@dataclass(frozen=True)
class Column:
    """One column.

    `value` reads a row; fractions stay fractions here (`style="percent"` prints them times 100; "number" has more digits where it is small, "fixed" has not). `main` columns are in every table,
    the others in the CSV file and in the page's details. `code` has the fingerprints of the program of a user's own column, by file: `registered` finds them. `interval` is what the interval
    of an estimate runs over: `value` gives it over seeds, `images` its ends over test images, where they are known.
    """

    key: str
    title: str
    value: Callable[[Row], Value]
    better: Literal["higher", "lower"] | None = None
    style: Style = "number"
    digits: int = 2
    about: str = ""
    main: bool = True
    code: Mapping[str, str] = field(default_factory=dict)
    interval: Interval = "images"
    images: Callable[[Row], Ends] | None = None

    @property
    def program(self) -> str:
        """The files of `code` with their fingerprints, for a note; empty for a column of the suite's."""
        return ", ".join(f"{name} {one}" for name, one in sorted(self.code.items()))


PUBLISHED = frozenset({"published", "published_difference", "published_source"})
"""Columns of published numbers, which have sources."""
LEADS = {"micro": "accuracy", "macro": "macro_accuracy"}


def leading(objective: Objective) -> str:
    """Key of the column that shows an objective."""
    return LEADS.get(objective.kind, "objective_value")


def arranged(columns: Iterable[Column], objective: Objective) -> tuple[Column, ...]:
    """The columns of a table that is ranked by an objective: its own comes first, behind the places, and is in every table."""
    lead = leading(objective)
    by_key = {column.key: column for column in columns if column.key != "objective_value" or column.key == lead}
    if lead not in by_key:
        return tuple(by_key.values())
    title = objective.title if lead == "objective_value" else by_key[lead].title
    about = objective.words if lead == "objective_value" else by_key[lead].about
    first = replace(by_key.pop(lead), main=True, title=title, about=about, better="lower" if objective.lower else "higher")
    return tuple(column for key in ("rank", lead, *by_key) if (column := first if key == lead else by_key.pop(key, None)) is not None)


def column_value(row: Row, column: Column) -> Value:
    """A column's value for a row, computed once.

    Raises:
        UserError: the column's code fails on this row.
    """
    key = f"{column.key} {column.interval}"
    if key not in row.computed:
        value = _alone(row, column)
        row.computed[key] = _with_interval(value, row, column) if isinstance(value, Estimate) else value
    return row.computed[key]


def absent(value: Value) -> bool:
    """Whether a cell has no value."""
    return value is None or (not isinstance(value, str) and math.isnan(value.mean if isinstance(value, Estimate) else value))


def _alone(row: Row, column: Column) -> Value:
    """The value of a column's function, before the interval is chosen."""
    key = f"{column.key} alone"
    if key not in row.computed:
        row.computed[key] = _computed(column.value, row, column)
    return row.computed[key]


def ends_over_images(row: Row, column: Column) -> Ends:
    """Ends of the interval over test images, or their groups, of a column's figure; None where the column has none or the figure is missing.

    Raises:
        UserError: the column's code fails on this row.
    """
    key = f"{column.key} ends"
    if key not in row.computed:
        known = column.images is not None and row.statistics is not None and not absent(_alone(row, column))
        ends = _computed(column.images, row, column) if column.images is not None and known else None
        row.computed[key] = ends if ends is not None and np.isfinite(ends).all() else None
    return row.computed[key]


def _computed(function: Callable[[Row], T], row: Row, column: Column) -> T:
    try:
        return function(row)
    except (OSError, *FAILURES_OF_CODE) as error:
        raise UserError(f"column {column.key!r} of row {row.label}: {described(error)}; mend its function") from error


def _with_interval(value: Estimate, row: Row, column: Column) -> Estimate:
    """An estimate over seeds with the interval of the column: never one over seeds where others are over images."""
    if column.interval == "seeds" or (column.interval == "images" and row.statistics is None):
        return value
    low, high = (ends_over_images(row, column) if column.interval == "images" else None) or (None, None)
    return replace(value, low=low, high=high)


_registered: dict[str, Column] = {}


def register(column: Column) -> Column:
    """Add a column after those that exist.

    Raises:
        UserError: another column has this key.
    """
    if _registered.setdefault(column.key, column) is not column:
        raise UserError(f"column {column.key!r} exists already; give yours another key")
    return column


def registered(modules: Iterable[str] = ()) -> tuple[Column, ...]:
    """Every column, after importing the user's `modules` (dotted names), which register theirs; the user's own with their code.

    Raises:
        UserError: a module is not found, fails while it is imported, or was edited after that.
    """
    imported: list[ModuleType] = []
    for name in modules:
        search_current_folder()
        import_torchmetrics_whole()
        try:
            imported.append(importlib.import_module(name))
        except ImportError as error:
            raise UserError(
                f"columns from {name}: {' '.join(str(error).split())}; give the dotted name of a module on PYTHONPATH"
            ) from error
        except SyntaxError as error:  # says its place itself
            raise UserError(f"columns from {name}: SyntaxError: {' '.join(str(error).split())}; mend this module") from error
        except (OSError, *FAILURES_OF_CODE) as error:
            raise UserError(f"columns from {name}: {described(error)}; mend this module") from error
    return tuple(column if key in _SUITE else replace(column, code=_code(column, imported)) for key, column in _registered.items())


def _code(column: Column, modules: list[ModuleType]) -> dict[str, str]:
    """Fingerprints of a column's program: of what computes it, and of the modules that register columns."""
    value = getattr(column.value, "func", column.value)  # of a partial
    return fingerprints([*modules, value if hasattr(value, "__qualname__") else type(value)])


def with_priors(columns: Iterable[Column], priors: Iterable[str]) -> tuple[Column, ...]:
    """The columns and one more, in every table, for each test prior as of ``data.priors.named_prior``.

    Raises:
        UserError: two priors have one name.
    """
    by_key = {column.key: column for column in columns}
    added: dict[str, Column] = {}
    for text in priors:
        key, name = prior_name(text), text if ":" in text else Path(text).name
        if key in added:
            raise UserError(f"--test-priors: two priors are named {key}; name a file otherwise")
        about = f"accuracy on a test set with the class shares of {name}, the head not told, %"
        images = partial(at_prior_over_images, text=text)
        added[key] = Column(key, f"At {name}", partial(at_prior, text=text), "higher", "percent", about=about, images=images)
    return tuple((by_key | added).values())


def _metric(name: str) -> Callable[[Row], Value]:
    return lambda row: row.estimate(name)


def _of_cache(name: str) -> Callable[[Row], float]:
    """A fact of the features, the same for all seeds."""
    return lambda row: float(row.values(name)[0])


def train_test_gap(row: Row) -> Estimate:
    """Macro accuracy on the plain train view minus macro accuracy on test (both macro: the train set is imbalanced)."""
    return seed_interval(row.values("train/macro_accuracy") - row.values("test/macro_accuracy"), row.varies)


def _bias_cost(row: Row) -> Estimate:
    return seed_interval(row.values("test/accuracy_equal_bias") - row.values("test/accuracy"), row.varies)


def _tuning(row: Row) -> str:
    kind = row.origin
    if kind == "author-tuned":
        return "defaults chosen by us on val"
    if kind != "tuned":
        return kind
    size, whole = row.values("grid_size")[0], row.values("whole_grid")[0]
    by = row.text("tuning_objective")
    among = "" if np.isnan(whole) or whole == size else f" of {whole:.0f}"
    return "tuned on val" + (f" by {by}" if by else "") + ("" if np.isnan(size) else f", {size:.0f}{among} tried")


def choice_error(row: Row) -> float:
    """The standard error of the choice of a tuned row: points of accuracy, or a cost as it is; NaN where it has none."""
    return float(row.values("choice_error")[0]) * (1 if row.text("tuning_objective") == "cost" else 100)


def reproduce(row: Row) -> str:
    """The command of the first seed, its `--seeds` widened to all of the row."""
    words = str(row.text("command")).split(" ")
    seeds = ",".join(map(str, row.seeds))
    for position, word in enumerate(words):
        if word == "--seeds" and position + 1 < len(words):
            words[position + 1] = seeds
        elif word.startswith("--seeds="):
            words[position] = f"--seeds={seeds}"
    return " ".join(words)


def _published(row: Row) -> Published | None:
    return nearest(row.text("strategy"), row.board.dataset, float(row.values("imbalance_factor")[0]), str(row.text("backbone")))


def _published_text(row: Row) -> str | None:
    line = _published(row)
    return None if line is None else f"{line.top1:.1f}{line.mark} {line.backbone}{line.remarks}"


def _published_difference(row: Row) -> float | None:
    line = _published(row)
    backbone = str(row.text("backbone"))
    if line is None or line.top1 is None or line.end_to_end or not line.about.checked or not same_backbone(line.backbone, backbone):
        return None
    return row.estimate("test/accuracy").mean - line.top1 / 100


def _published_source(row: Row) -> str | None:
    line = _published(row)
    return None if line is None else line.short


def published_citation(row: Row) -> str | None:
    """Citation of the row's published number, in full; None where there is none."""
    line = _published(row)
    return None if line is None else line.citation


def _objective(row: Row) -> Estimate:
    """The objective as it is shown: accuracies in %, costs as they are."""
    return seed_interval(row.scores * (1.0 if row.objective.lower else 100.0), row.varies)


def _rank(row: Row) -> str | None:
    return None if row.statistics is None or row.statistics.standing is None else row.statistics.standing.text


def _over_images(row: Row) -> str | None:
    return None if row.statistics is None else ends_text(row.statistics.interval, row.objective)


def _behind(row: Row) -> str | None:
    return None if row.statistics is None else ends_text(row.statistics.behind, row.objective)


def _over_classes(row: Row) -> str | None:
    return None if row.statistics is None else ends_text(row.statistics.over_classes, row.objective)


def _behind_over_classes(row: Row) -> str | None:
    return None if row.statistics is None else ends_text(row.statistics.behind_classes, row.objective)


def _group_over_images(name: str) -> Callable[[Row], str | None]:
    return lambda row: None if row.statistics is None else ends_text(row.statistics.groups.get(name))


def _count(name: str) -> Callable[[Row], Value]:
    return lambda row: int(row.values(name)[0])


for _column in (
    Column("rank", "Rank", _rank, None, "text", 0, "possible places, then the groups; rows that share a letter cannot be told apart (paired tests, Holm-corrected)"),
    Column("objective_value", "Objective", _objective, about="the objective of the board: accuracies in %, costs as they are", main=False, images=of_objective),
    Column("accuracy", "Accuracy", _metric("test/accuracy"), "higher", "percent", about="micro accuracy on the plain test view, last epoch, %", images=partial(of_accuracy, objective=MICRO)),
    Column("over_images", "Over test images", _over_images, None, "text", 0, "95 % interval of the objective over test images, or over the groups that they come in", main=False),
    Column("behind", "Minus best", _behind, None, "text", 0, "95 % paired t interval of the difference to the best row in the objective, over test images or their groups", main=False),
    Column("over_classes", "Over classes", _over_classes, None, "text", 0, "95 % interval of the objective over classes: other classes of their kind would move it so far", main=False),
    Column("behind_over_classes", "Minus best, over classes", _behind_over_classes, None, "text", 0, "95 % paired interval of the difference to the best row in the objective, over classes", main=False),
    Column("many", "Many", _metric("test/many"), "higher", "percent", about="mean accuracy of classes with more than 100 training images, %", images=partial(of_shots, name="many")),
    Column("medium", "Medium", _metric("test/medium"), "higher", "percent", about="mean accuracy of classes with 20 to 100 training images, %", images=partial(of_shots, name="medium")),
    Column("few", "Few", _metric("test/few"), "higher", "percent", about="mean accuracy of classes with fewer than 20 training images, %", images=partial(of_shots, name="few")),
    Column("many_over_images", "Many over images", _group_over_images("many"), None, "text", 0, "95 % exact binomial interval of Many over test images or their groups, %", main=False),
    Column("medium_over_images", "Medium over images", _group_over_images("medium"), None, "text", 0, "95 % exact binomial interval of Medium over test images or their groups, %", main=False),
    Column("few_over_images", "Few over images", _group_over_images("few"), None, "text", 0, "95 % exact binomial interval of Few over test images or their groups, %", main=False),
    Column("worst_class", "Worst", _metric("test/worst_class"), "higher", "percent", 1, "accuracy of the worst class, %", main=False),
    Column("harmonic_mean", "Harmonic", _metric("test/harmonic_mean"), "higher", "percent", 1, "harmonic mean of the class accuracies, %", main=False),
    Column("macro_accuracy", "Macro", _metric("test/macro_accuracy"), "higher", "percent", about="mean of the class accuracies, %", main=False, images=partial(of_accuracy, objective=MACRO)),
    *(Column(f"{way}_{imbalance}", f"{way.title()} {imbalance}", partial(at_usual_tail, way=way, imbalance=imbalance), "higher", "percent", about=f"accuracy on a test set with a {way} long tail of imbalance {imbalance}, the head not told, %", main=False, images=partial(at_tail_over_images, way=way, imbalance=imbalance)) for way in ("forward", "backward") for imbalance in IMBALANCES),
    *(Column(f"{way}_{imbalance}_told", f"{way.title()} {imbalance} told", partial(told_tail, way=way, imbalance=imbalance), "higher", "percent", about=f"the same, the head told of the {way} long tail: z - log of the prior that it assumes + log of this one, where that is known, %", main=False) for way in ("forward", "backward") for imbalance in IMBALANCES),
    Column("gap", "Gap", train_test_gap, None, "percent", 1, "macro accuracy on the plain train view minus on test, points; no best value", images=of_gap),
    Column("class_bias", "Bias", _metric("test/class_bias"), "lower", "percent", 1, "class bias: total variation between the shares of predicted and of true classes on test, points"),
    Column("equal_bias", "At equal bias", _metric("test/accuracy_equal_bias"), "higher", "percent", about="accuracy with offsets of the logits that bring the shares of predicted classes to those of the test set, found without a label, %", main=False),
    Column("equal_bias_val", "At equal bias, val", _metric("test/accuracy_equal_bias_val"), "higher", "percent", about="the same with the offsets of the validation set, %", main=False),
    Column("bias_cost", "Bias costs", _bias_cost, "lower", "percent", about="accuracy at equal bias minus accuracy, points", main=False),
    Column("loma", "LoMa", _metric("test/loma_column_mean"), None, about="logits magnitude: a class's mean logit on its own test images minus that on all others, mean over classes (column reading)"),
    Column("loma_balance", "LoMa bal.", _metric("test/loma_column_balance"), "lower", digits=3, about="std / |mean| of LoMa over classes, on test; 0 is perfect balance"),
    Column("loma_balance_train", "LoMa bal. train", _metric("train/loma_column_balance"), "lower", digits=3, about="the same on the plain train view", main=False),
    Column("rsd", "RSD", _metric("test/rsd_column_mean"), None, digits=3, about="regularized standard deviation: spread of a class's logit within own and other test images / LoMa, mean over classes"),
    Column("loma_row", "LoMa row", _metric("test/loma_row_mean"), None, about="mean over classes of LoMa on test, row reading", main=False),
    Column("rsd_row", "RSD row", _metric("test/rsd_row_mean"), None, digits=3, about="mean over classes of RSD on test, row reading", main=False),
    Column("calibration_error", "ECE", _metric("test/calibration_error"), "lower", "percent", 1, "expected calibration error, 15 bins, points"),
    Column("nll", "NLL", _metric("test/nll"), "lower", digits=3, about="mean negative log-likelihood on test, nats", main=False),
    Column("accuracy_flip", "Flip-averaged", _metric("test_flip/accuracy"), None, "percent", about="accuracy averaged with the flipped view: for comparison with papers, never the headline", main=False, images=partial(of_share, name="test_flip/accuracy")),
    Column("accuracy_best_epoch", "Best test epoch", _metric("test_best_epoch/accuracy"), None, "percent", about="accuracy of the epoch that is best on test: chosen on the test set, for comparison with papers, never the headline", main=False),
    Column("collapse", "Collapse", _of_cache("test/feature_collapse"), None, digits=3, about="a fact of the features: scatter within over between classes on test; 0 is full collapse", main=False),
    Column("collapse_train", "Collapse train", _of_cache("train/feature_collapse"), None, digits=3, about="the same on the plain train view: far smaller than on test where stage 1 memorised its images", main=False),
    Column("fit_s", "Fit s", lambda row: float(np.mean(row.values("fit_s"))), None, "seconds", 1, "a head's part of the seconds of its fit, which it may share with other seeds, settings and strategies; depends on the machine"),
    Column("parameters", "Trained", _count("trained_parameters"), None, "count", 0, "trained parameters", main=False),
    Column("epochs", "Epochs", _count("epochs"), None, "count", 0, "epochs of the fit", main=False),
    Column("tuning", "Tuning", _tuning, None, "text", 0, "official: the paper's or official code's values; inferred: not stated there; defaults chosen by us on val: the strategy's defaults are our choice on validation images; tuned: chosen on validation images of this data set"),
    Column("validation", "Validation", lambda row: row.text("validation"), None, "text", 0, "the validation images that chose the hyper-parameters of a tuned row", main=False),
    Column("choice_error", "Choice SE", choice_error, None, "number", 2, "standard error of that choice: spread of the scores of the points that redrawn validation sets choose, in points or units of the cost; not how sure the choice is", main=False),
    Column("alone_best", "Best alone", lambda row: float(row.values("alone_best")[0]), None, "percent", 0, "share of redrawn validation sets in which no other point of the grid does as well as the row's", main=False),
    Column("seeds", "Seeds", lambda row: seed_text(row.seeds), None, "text", 0, "seeds of the runs"),
    Column("verified", "Verified", lambda row: "verified" if row.verified else None, None, "text", 0, "verified: every record of the row was repeated by `lt-bench verify`, and its figures came out the same"),
    Column("varies", "Interval over", lambda row: row.varies if len(row.positions) > 1 else None, None, "text", 0, "what the seeds vary", main=False),
    Column("health", "Health", lambda row: ", ".join(signs_in(row.runs.columns["health"][row.positions])) or None, None, "text", 0, "signs that a fit of the row went wrong; none for healthy ones", main=False),
    Column("protocol", "Protocol", lambda row: row.board.protocol, None, "text", 0, "clean: frozen cached features; images-eval, images-train: freshly augmented images through the backbone in eval or training mode", main=False),
    Column("published", "Published", _published_text, None, "text", 0, "published accuracy of the nearest setting and its backbone, not our measurement; end-to-end: the whole network was trained with the method; † read on an index page"),
    Column("published_difference", "Δ", _published_difference, None, "percent", 1, "measured minus published, points; only where the number was found in its source, of the same backbone and a frozen one; other settings may differ (see measured beside published)"),
    Column("published_source", "Published in", _published_source, None, "text", 0, "where the published number stands", main=False),
    Column("command", "Command", reproduce, None, "text", 0, "reproduces the row", main=False),
):  # fmt: skip
    register(_column)

_SUITE = frozenset(_registered)
