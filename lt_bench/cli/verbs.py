"""The verbs: what each does in a line, whose options it takes, and the function that does it, imported only when the verb runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BEGINS = "the same command begins again"
RESUMES = "what was recorded stays, and the same command does what is missing"
CHOSEN = "strategies that are done stay, and the same command does what is missing"


@dataclass(frozen=True)
class Verb:
    """A verb.

    Attributes:
        summary: one line for the help.
        options: the name of its class in ``bench.options``.
        action: ``module:function`` within the package; takes the options and an ``Output``.
        interrupted: message after Ctrl-C, on what an interrupted run leaves.
        json: whether the verb can write its result as JSON.
        preflight: function of ``cli.preflight`` that checks the options before torch is imported; empty where there is none.
    """

    summary: str
    options: str
    action: str
    interrupted: str = BEGINS
    json: bool = False
    preflight: str = ""

    def options_class(self) -> type:
        """The dataclass of its options."""
        return getattr(importlib.import_module("lt_bench.bench.options"), self.options)

    def function(self) -> Callable[..., Any]:
        """The function that carries the verb out."""
        module, _, name = self.action.partition(":")
        return getattr(importlib.import_module(f"lt_bench.cli.{module}"), name)


VERBS: dict[str, Verb] = {
    "list": Verb("what there is: strategies, datasets, backbones, caches, slots", "ListOptions", "listing:show_list", json=True),
    "run": Verb("re-train a strategy, evaluate, record", "RunOptions", "fits:run_verb", RESUMES, json=True, preflight="run"),
    "tune": Verb(
        "choose hyper-parameters on unseen validation images",
        "TuneOptions",
        "fits:tune_verb",
        "points that are done stay, and the same command goes on from there",
        preflight="tune",
    ),
    "choose": Verb(
        "compare strategies on unseen images, and say which to take",
        "ChooseOptions",
        "choose:choose_verb",
        CHOSEN,
        json=True,
        preflight="choose",
    ),
    "budgets": Verb(
        "what tuning buys: test accuracy of the best on validation of n random points",
        "BudgetsOptions",
        "budgets:budgets_verb",
        CHOSEN,
        json=True,
        preflight="budgets",
    ),
    "bench": Verb("run a suite of strategies, caches and seeds; resumable", "BenchOptions", "fits:bench_verb", RESUMES, preflight="bench"),
    "leaderboard": Verb("records to tables", "LeaderboardOptions", "board:leaderboard_verb", json=True, preflight="board"),
    "report": Verb(
        "one row of a board class by class, with confusions and images", "ReportOptions", "report:report_verb", json=True, preflight="board"
    ),
    "diff": Verb(
        "two records: in which of data, choices, code, versions, hardware they differ", "DiffOptions", "records:diff_verb", json=True
    ),
    "wandb": Verb(
        "push: records to W&B; dashboard: a workspace and a report",
        "WandbOptions",
        "board:wandb_verb",
        "runs that were written stay, and the same command writes the others",
    ),
    "import-features": Verb(
        "embeddings from anywhere to a feature cache", "ImportOptions", "data:import_verb", json=True, preflight="import_features"
    ),
    "data": Verb(
        "data check NAME: what is there of a data set, what is missing and where to get it", "DataOptions", "data:data_verb", json=True
    ),
    "extract": Verb(
        "images to a feature cache",
        "ExtractOptions",
        "data:extract_verb",
        "features that are done stay, and the same command goes on from there",
        json=True,
        preflight="extract",
    ),
    "pretrain": Verb(
        "stage 1: train a backbone on the long-tailed images",
        "PretrainOptions",
        "data:pretrain_verb",
        "the same command goes on from the last checkpoint, or begins again where there is none",
        json=True,
        preflight="pretrain",
    ),
    "export": Verb(
        "backbone and re-trained head of a record as one classifier", "ExportOptions", "deploy:export_verb", json=True, preflight="export"
    ),
    "predict": Verb("an exported classifier on a folder of images", "PredictOptions", "deploy:predict_verb", preflight="predict"),
    "evaluate": Verb(
        "an exported classifier on inputs whose classes are known",
        "EvaluateOptions",
        "deploy:evaluate_verb",
        json=True,
        preflight="evaluate",
    ),
    "update": Verb(
        "an exported classifier fitted anew with new images, beside the earlier one",
        "UpdateOptions",
        "deploy:update_verb",
        "features and a record that are done stay, and the same command does what is missing",
        json=True,
        preflight="update",
    ),
    "verify": Verb(
        "run a record again and compare",
        "VerifyOptions",
        "fits:verify_verb",
        "verifications that are in a submission stay, and the same command begins again",
        json=True,
        preflight="verify",
    ),
    "validate": Verb(
        "whether records, tunings, submissions, caches, exports and checkpoints are as they were written",
        "ValidateOptions",
        "validate:validate_verb",
        json=True,
    ),
    "submit": Verb(
        "records, source and tunings of a strategy as a folder for a pull request",
        "SubmitOptions",
        "submit:submit_verb",
        "the same command writes what is missing",
        json=True,
    ),
    "push": Verb(
        "caches, records and tunings to the Hugging Face hub, hf://OWNER/NAME",
        "PushOptions",
        "hub:push_verb",
        "the same command sends what is missing",
    ),
    "pull": Verb(
        "caches, records and tunings from the hub, checked by their seals",
        "PullOptions",
        "hub:pull_verb",
        "what is in place stays, and the same command does what is missing",
        json=True,
    ),
    "check": Verb("the contract suite on a strategy of yours", "CheckOptions", "fits:check_verb", json=True, preflight="check"),
    "migrate": Verb(
        "caches, records and tunings of earlier versions as this one reads them",
        "MigrateOptions",
        "records:migrate_verb",
        "files that are up to date stay, and the same command does the others",
        json=True,
    ),
    "completion": Verb("completion bash, completion zsh: a script for the shell", "CompletionOptions", "completion:show"),
}
