"""Any logger of Lightning as a view of the records: ``--logger tensorboard``, ``mlflow``, or the dotted path of a class."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger

from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.core.names import object_at
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store

KNOWN = {"tensorboard": (TensorBoardLogger, ("tensorboard", "tensorboardX")), "mlflow": (MLFlowLogger, ("mlflow", "mlflow_skinny"))}
"""Lightning's class, and the packages of which it needs one."""


def require_logger(name: str) -> None:
    """Raise ``UserError`` for a logger that cannot be used: no such class, or its package is not installed."""
    if name in ("csv", "wandb"):
        return
    if name in KNOWN:
        packages = KNOWN[name][1]
        if not any(map(importlib.util.find_spec, packages)):
            raise UserError(f"--logger {name} needs the package {packages[0]}: pip install {packages[0]}")
    elif "." not in name:
        raise UserError(
            f"--logger {name} is none of csv, wandb, {', '.join(KNOWN)}, nor the dotted path of a Lightning logger (package.module.Class)"
        )
    else:
        _class_of(name)


def logger_of(name: str, record: RunRecord, store: Store, project: str) -> Logger:
    """The logger of one record; a class of the user's own gets the project, run and folder arguments that its constructor accepts.

    Raises:
        UserError: as ``require_logger``; or the logger cannot be made (no server, no account).
    """
    require_logger(name)
    cls = KNOWN[name][0] if name in KNOWN else _class_of(name)
    folder = store.directory / "logs" / (name if name in KNOWN else cls.__name__)
    run = f"{record.identity.strategy}, seed {record.identity.seed}"
    given: dict[str, Any] = {"project": project, "experiment_name": project, "run_name": run}
    given |= {"save_dir": str(folder), "name": record.identity.strategy, "version": record.id}
    taken = inspect.signature(cls).parameters
    try:
        return cls(**{key: value for key, value in given.items() if key in taken})
    except (OSError, ImportError, *FAILURES_OF_CODE) as error:
        raise UserError(f"--logger {name} cannot be made: {described(error)}") from error


def _class_of(dotted: str) -> type[Logger]:
    cls = object_at(dotted)
    if not (isinstance(cls, type) and issubclass(cls, Logger)):
        raise UserError(f"--logger {dotted}: it is no class of Lightning's Logger")
    return cls
