"""Mistakes that can be named before torch is imported, which takes seconds: a function for each verb that has some. Free of torch.

The verb itself reports most missing options. Errors raised here are those that the verb would raise later.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lt_bench.bench.choosing.predictions import CHOICES
from lt_bench.bench.options import (
    BenchOptions,
    BudgetsOptions,
    CheckOptions,
    ChooseOptions,
    ExportOptions,
    ExtractOptions,
    ImportOptions,
    LeaderboardOptions,
    PredictOptions,
    PretrainOptions,
    ReportOptions,
    RunOptions,
    TuneOptions,
    UpdateOptions,
    UseOptions,
    VerifyOptions,
)
from lt_bench.bench.options.choices import wandb_mode
from lt_bench.bench.planning import require_grid
from lt_bench.bench.requirements import (
    check_budget,
    check_seeds,
    check_workers,
    default_backbone,
    require_file,
    require_images,
    require_weights,
    suite_path,
)
from lt_bench.bench.sources.find_cache import find_fitting
from lt_bench.bench.stage1_files import require_run_place
from lt_bench.bench.submission import check_submission
from lt_bench.bench.tuned import chosen
from lt_bench.bench.validation import Validation
from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.core.files import require_file_place, require_place
from lt_bench.core.launchers import layout
from lt_bench.data.profiles import check_imbalance_factor
from lt_bench.deploy.files import read_description
from lt_bench.features.locate import elsewhere, home
from lt_bench.features.manifest import MANIFEST_NAME, read_manifest
from lt_bench.leaderboard.objective.objective import check_objective
from lt_bench.results.statement import submission_of
from lt_bench.results.store import read_record
from lt_bench.strategies.registry import find

_RECORD = "no file of a record; give the JSON file whose path a run prints"


def run(options: RunOptions) -> None:
    """Check seeds, processes, the cache (and its tuning) or the images, the results directory, and the account for W&B."""
    check_seeds(options.seeds)
    layout(options.devices)
    _require_place(options.results)
    _require_account(wandb_mode(options.wandb, options.logger))
    if options.mode != "head" or options.protocol != "clean":
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
        return
    cache = find_fitting(options)
    if cache is None:
        return
    manifest = read_manifest(cache)
    _require_place(options.results / manifest.dataset.name)
    for name in options.strategy.name.split(",") if options.tuned else ():
        chosen(find(name), options, manifest)


def tune(options: TuneOptions) -> None:
    """Check seeds, processes, workers, validation options, objective, the strategy's grid, the results directory, and the cache."""
    check_seeds(options.seeds)
    Validation(options.val_size, options.val_profile, options.draws).check()
    check_budget(options.budget)
    check_workers(options.workers, layout(options.devices).world)
    check_objective(options.objective)
    require_grid(find(options.strategy.name))
    _require_place(options.results / "tuning")
    find_fitting(options)


def choose(options: ChooseOptions) -> None:
    """Check seeds, strategies, objective, the directories of predictions and page, and the cache."""
    _check_strategies(options)


def budgets(options: BudgetsOptions) -> None:
    """Check strategies, budget, seeds, objective, the directories of predictions and pictures, and the cache."""
    if not options.strategies:
        raise UserError("budgets needs strategies whose grids are compared, e.g. --strategies los,crt,ncm")
    check_budget(options.budget)
    require_extra("matplotlib", "plots", "budgets")
    _check_strategies(options)


def _check_strategies(options: ChooseOptions | BudgetsOptions) -> None:
    check_seeds(options.seeds)
    check_objective(options.objective)
    for name in options.strategies:
        find(name)
    _require_place(options.results / CHOICES)
    _require_place(options.out, "--out")
    find_fitting(options)


def bench(options: BenchOptions) -> None:
    """Check the suite, workers, the results directory, and the account for W&B."""
    if not options.suite:
        raise UserError("bench needs a suite: a YAML file, or the name of a shipped one")
    if options.slurm_options and not options.slurm:
        raise UserError("--slurm-options are for --slurm PARTITION; name one, or leave them out")
    suite_path(options.suite)
    check_workers(options.workers, layout(options.devices).world, options.slurm)
    _require_place(options.results)
    _require_account(wandb_mode(options.wandb, options.logger))


def check(options: CheckOptions) -> None:
    """Check the name of the strategy."""
    if not options.strategy:
        raise UserError("check needs a strategy: a name, or the dotted path of your own, e.g. my_pkg.my_module.MyHead")
    find(options.strategy)


def import_features(options: ImportOptions) -> None:
    """Check the files, the imbalance factor and the place of the cache."""
    if options.imbalance_factor is not None:
        check_imbalance_factor(options.imbalance_factor)
    if not options.name or options.train is None or options.test is None:
        raise UserError("import-features needs --name, --train and --test")
    for field in dataclasses.fields(options):
        path = getattr(options, field.name)
        if isinstance(path, Path) and field.name != "out":
            require_file(path, "no such file")
    _require_place_of_cache(options)


def extract(options: ExtractOptions) -> None:
    """Check the images, the network and the place of the cache."""
    backbone = default_backbone(options.dataset, options.data_dir, options.backbone, options.weights)
    require_images(options.dataset, options.data_dir, backbone, options.weights)
    _require_place_of_cache(options)


def pretrain(options: PretrainOptions) -> None:
    """Check the images, the network, the recipe, the places of run and cache, and the account for W&B."""
    from lt_bench.engine.pretrain.recipes import stage1_recipe

    require_images(options.dataset, options.data_dir, options.backbone, options.weights)
    stage1_recipe(options.recipe).with_epochs(options.epochs).with_fields(options.recipe_fields)
    require_run_place(options.out)
    _require_place(options.out, "--out")
    if options.cache is not None:
        _require_place(options.cache.absolute().parent, "--cache")
    _require_account(options.wandb)


def export(options: ExportOptions) -> None:
    """Check the record and the weights."""
    if options.record is None:
        raise UserError("--record: no such file; export needs the JSON file of a record, --record RECORD.json")
    _require_record(options.record, options.weights)


def verify(options: VerifyOptions) -> None:
    """Check the record or submission, and the weights."""
    if options.record is None:
        raise UserError("verify needs the JSON file of a record, whose path a run prints")
    if (folder := submission_of(options.record)) is not None:
        check_submission(folder)
        if options.record.is_dir():
            return
    _require_record(options.record, options.weights)


def predict(options: PredictOptions) -> None:
    """Check the classifier, the inputs and the place of the table."""
    _require_use(options, "predict needs an export and what to classify: lt-bench predict EXPORT FOLDER")
    require_file_place(options.out, "choose another place with --out")


def evaluate(options: UseOptions) -> None:
    """Check the classifier and the labelled inputs."""
    _require_use(options, "evaluate needs an export and labelled inputs: lt-bench evaluate EXPORT FOLDER")


def update(options: UpdateOptions) -> None:
    """Check the export, the images, the objective, the weights and the results directory."""
    if options.export is None or options.data_dir is None:
        raise UserError("update needs an export and the images, earlier and new ones: lt-bench update EXPORT --data-dir DIR")
    require_images("", options.data_dir, None, None)
    check_objective(options.objective)
    _require_place(options.results)
    require_weights(read_description(options.export)["backbone"]["name"], options.weights)


def board(options: LeaderboardOptions | ReportOptions) -> None:
    """Check the output directory of leaderboard and report.

    Raises:
        UserError: files cannot be written there.
    """
    _require_place(options.out, "--out")


def _require_place_of_cache(options: ExtractOptions | ImportOptions) -> None:
    directory = options.out or home() / "caches" / (options.name or "")
    if not (directory / MANIFEST_NAME).is_file():  # one that is there is only read
        require_place(directory, elsewhere(directory), "the cache", beside=True)


def _require_use(options: UseOptions, usage: str) -> None:
    if options.export is None or options.inputs is None:
        raise UserError(usage)
    for path, kind in ((options.export, "exported classifier; `lt-bench export` makes one"), (options.inputs, "folder or image")):
        if not path.exists():
            raise UserError(f"{path}: no such {kind}")


def _require_record(record: Path, weights: Path | None) -> None:
    require_file(record, _RECORD)
    require_weights(read_record(record).backbone.name, weights)


def _require_account(wandb: str) -> None:
    if wandb != "off":
        require_extra("wandb", "wandb", f"--wandb {wandb}")
    if wandb == "online":
        from lt_bench.leaderboard.wandb.account import require_account

        require_account()


def _require_place(directory: Path, option: str = "--results") -> None:
    """Require that the directory of an option can be written or made; nothing is made yet."""
    require_place(directory, f"choose another place with {option}", "results" if option == "--results" else "files")
