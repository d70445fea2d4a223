"""Stage-1 runs of the tests: called here, broken off, or as a program of their own."""

import csv
import sys
from contextlib import contextmanager

import pytest

from lt_bench.bench.options import PretrainOptions
from lt_bench.bench.pretrain import pretrain
from lt_bench.engine.pretrain.callbacks import EpochLog


def stage1(*, checkpoint_every=5, validate_every=10, progress=True, **given):
    return pretrain(PretrainOptions(**given), checkpoint_every=checkpoint_every, validate_every=validate_every, progress=progress)


def log_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@contextmanager
def power_cut(monkeypatch, epoch):
    """A block whose stage 1 ends when ``epoch`` is logged and not in any checkpoint."""
    write = EpochLog._write

    def breaks(self):
        write(self)
        if len(self.rows) == epoch:
            raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "_write", breaks)
        with pytest.raises(OSError, match="power cut"):
            yield


def script(path, settings):
    """The command of a program, written to ``path``, that calls `stage1`; Lightning starts it once more for a second process."""
    how = {name: settings[name] for name in ("checkpoint_every", "validate_every", "progress")}
    given = {name: value for name, value in settings.items() if name not in how}
    lines = (
        "from pathlib import Path, PosixPath",
        "from lt_bench.backbones import cifar",
        "cifar.build = lambda name, num_classes: cifar.CifarResNet(num_classes, 1, (8, 16, 64))",  # light_resnet20, here too
        "from lt_bench.bench.options import PretrainOptions",
        "from lt_bench.bench.pretrain import pretrain",
        "if __name__ == '__main__':",
        f"    pretrain(PretrainOptions(**{given!r}), **{how!r})",
    )
    path.write_text("\n".join(lines))
    return [sys.executable, str(path)]
