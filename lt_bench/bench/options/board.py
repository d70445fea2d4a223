"""Options of ``leaderboard``, ``report`` and ``wandb``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from lt_bench.bench.options.fits import StrategyChoice
from lt_bench.core.commands import RESULTS


@dataclass
class LeaderboardOptions:
    """Records to tables.

    Attributes:
        results: directory of run records
        out: where the files are written
        formats: what to write: markdown, csv, latex, html, published (measured beside published), plots (then in the page too)
        objective: what ranks: macro (mean of class accuracies), micro (share of images), shots (macro; a class without images leaves its weight to its group), prior=FILE (class accuracies weighted; CSV class,prior, or forward:50, backward:10) or cost=FILE (mean cost; CSV K x K, or class,cost); default: macro for an imbalanced test set, else micro
        test_priors: more columns: accuracies on test sets of these class shares, as prior=; those of the usual long tails stand in CSV and page
        columns: modules of yours that register columns
        show: keys of the columns to show, in their order, e.g. accuracy,many,few,loma, and test priors as --test-priors has them (of tables; default: the main ones)
        rows: the rows to show, by label, strategy or strategy:tuning, e.g. los,my_head.MyHead:tuned (of tables and figures; default: all)
        names: YAML file of names for rows and columns, with lines such as `los: LOS`
        digits: of percentages and other figures, behind the point
        interval: what ± in tables runs over: test images (figures that are no accuracy then have none), head seeds, or nothing; the CSV file has both
        full: LaTeX with float, caption and label, not the bare tabular
        against: label of the row that others are compared with over boards of one split, whose backbones and classes count as samples (default: joint, in Markdown and the page; named, in the terminal and --json too)
        statistics: rank groups and intervals over test images, from the stored predictions (kept between calls)
    """

    results: Path = RESULTS
    out: Path = Path("leaderboard")
    formats: list[str] = field(default_factory=lambda: ["markdown", "csv", "latex", "html", "published"])
    objective: str | None = None
    test_priors: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    show: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    names: Path | None = None
    digits: int | None = None
    interval: Literal["images", "seeds", "none"] = "images"
    full: bool = False
    against: str | None = None
    statistics: bool = True


@dataclass
class ReportOptions:
    """One row of a board class by class: recall, precision, F1, intervals, confusions, images of the worst classes.

    Attributes:
        records: JSON files of the records of one row, its seeds
        strategy: instead of records: the row of this strategy, and of the hyper-parameters that are given, among the results
        results: directory of run records
        objective: as of `leaderboard`
        data_dir: where the images are, for pictures of the worst classes; imported features have none
        group_column: column of the table that --data-dir names: test images with the same value (a track, a patient) are one group, and intervals are over groups (default: the groups that the cache was split by)
        group_pattern: the same by a regular expression with one (group), searched in CLASS/FILE
        out: where the files are written
    """

    positional: ClassVar[tuple[str, ...]] = ("records",)
    without_strategy: ClassVar[bool] = True
    records: list[Path] = field(default_factory=list)
    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    results: Path = RESULTS
    objective: str | None = None
    data_dir: Path | None = None
    group_column: str | None = None
    group_pattern: str | None = None
    out: Path = Path("report")


@dataclass
class DiffOptions:
    """Two records side by side.

    Attributes:
        first: a record's JSON file
        second: that of another
    """

    positional: ClassVar[tuple[str, ...]] = ("first", "second")
    first: Path | None = None
    second: Path | None = None


@dataclass
class MigrateOptions:
    """Older files as this version reads them, where they lie; what cannot be brought up to date stays as it is, and is named.

    Attributes:
        paths: caches, results directories, folders of tunings, or single files
    """

    positional: ClassVar[tuple[str, ...]] = ("paths",)
    paths: list[Path] = field(default_factory=list)


@dataclass
class WandbOptions:
    """W&B as a view of the records.

    Attributes:
        action: push: rebuild every run, table and plot from the records; dashboard: make a workspace and a report for every board
        results: directory of run records
        project: W&B project
        entity: W&B user or team
        online: push: send now; otherwise offline runs are written, for `wandb sync`
        plots: push: with the plots of every board
        exports: push: directories of exported classifiers, each as an artifact of type model that is made of its record and cache
    """

    positional: ClassVar[tuple[str, ...]] = ("action",)
    action: str = ""
    results: Path = RESULTS
    project: str = "lt-bench"
    entity: str | None = None
    online: bool = False
    plots: bool = True
    exports: list[Path] = field(default_factory=list)
