"""Writing a feature cache shard by shard: it may be larger than memory, and finished shards survive a SIGKILL.

The files of a cache are created beforehand as safetensors of their final size; shards (runs of rows) are written into them in any order. A marker is written
after each shard. At the end the files get their checksums, and the folder is renamed once. Several processes, on one file system, may write shards of one cache.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.tensors import save_tensors, stored_tensor
from lt_bench.data.repeated import Images
from lt_bench.features.audit import audit, require_precision
from lt_bench.features.cache import FeatureSplit
from lt_bench.features.encoding import DTYPES
from lt_bench.features.locate import elsewhere
from lt_bench.features.manifest import Manifest
from lt_bench.features.moments import Moments
from lt_bench.features.shard_sums import read_sums, write_sums
from lt_bench.features.write import Description, encoded, publish, round_trips, standardisation, unwritten

_NAMES = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}
_COPY_ROWS = 4096
PATIENCE = 60  # seconds until a file of another machine must be visible


@dataclass(frozen=True)
class SplitPlan:
    """A planned split: its views, labels (N,) and rows (N,)."""

    views: tuple[str, ...]
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return self.labels.numel()

    def where(self, mask: Tensor) -> SplitPlan:
        """The samples where ``mask`` (N,) is True."""
        return SplitPlan(self.views, self.labels[mask], self.rows[mask])


class Resumable:
    """An unfinished cache beside ``directory``; opened again with the same ``identity``, it continues.

    Args:
        directory: where the cache will stand.
        identity: hash of everything that determines the numbers; an unfinished cache of another identity at ``directory`` is removed.
        splits: train, test and optionally val.
        dim: feature dimension D.
        dtype: float16, float32 or affine8 (kept as float32 until the end).
        shard: rows of a shard.
        standardise: bring the features to mean 0 and spread 1 of the plain training rows at the end; kept as float32 until then.
        lay_out: whether to create the files; True in one of the processes that write together, the others open them.

    Raises:
        UserError: the directory cannot be written, or the files of another process cannot be seen.
    """

    def __init__(
        self,
        directory: Path,
        identity: str,
        splits: Mapping[str, SplitPlan],
        dim: int,
        dtype: str,
        shard: int,
        *,
        standardise: bool = False,
        lay_out: bool = True,
    ) -> None:
        self.directory, self.splits, self.dim, self.shard = directory, dict(splits), dim, shard
        self.dtype, self.standardise = dtype, standardise
        self.stored = torch.float32 if standardise else DTYPES.get(dtype, torch.float32)
        self.work = directory.parent / f".{directory.name}.{identity}.extracting"
        self.files, self.done, self._stop = self.work / "files", self.work / "done", self.work / "stopped"
        self._layouts = {
            split: _Layout(self.files / f"{split}.safetensors", split, plan, dim, self.stored) for split, plan in splits.items()
        }
        if lay_out:
            self._lay_out()
        elif not _appear([self.done]):
            raise UserError(
                f"{directory}: the nodes do not see the same files there; choose a place on a file system that all of them share"
            )

    def _lay_out(self) -> None:
        """Create missing files, and remove unfinished caches of another identity."""
        try:
            remove_unfinished(self.directory, self.work)
            self.files.mkdir(parents=True, exist_ok=True)
            self.done.mkdir(exist_ok=True)
            self._stop.unlink(missing_ok=True)
            for split, layout in self._layouts.items():
                if layout.write_header():  # markers of an earlier file are void
                    for marker in self.done.glob(f"{split}-*"):
                        marker.unlink()
        except OSError as error:
            raise unwritten(self.directory, error) from None

    def shards(self, split: str) -> list[tuple[int, int]]:
        """First row and end of the unwritten shards of a split."""
        return [(start, end) for start, end in self.every_shard(split) if not self._marker(split, start).exists()]

    def every_shard(self, split: str) -> list[tuple[int, int]]:
        """First row and end of all shards of a split."""
        return [(start, min(start + self.shard, len(self.splits[split]))) for start in self._starts(split)]

    def write(self, split: str, start: int, features: Mapping[str, Tensor], broken: Mapping[int, str]) -> None:
        """Write a shard: features (n, D) float32 by view, and the reason for each broken position."""
        stored = {view: tensor.to(self.stored) for view, tensor in features.items()}
        intact = torch.tensor([start + i not in broken for i in range(len(features["plain"]))])
        try:
            self._layouts[split].write(start, stored)
            write_sums(self._sums(split, start), features, stored, intact)
            write_text(self._marker(split, start), json.dumps({str(i): why for i, why in broken.items()}))
        except OSError as error:
            raise unwritten(self.directory, error, "the same command goes on from there") from None

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """A UserError within the block tells all processes to stop."""
        try:
            yield
        except UserError:
            with suppress(OSError):
                self._stop.touch()
            raise

    def stopped(self) -> bool:
        """Whether one of the processes has failed."""
        return self._stop.exists()

    def views_written(self) -> int:
        """Number of written views, of all processes."""
        return sum(
            (min(start + self.shard, len(plan)) - start) * len(plan.views)
            for split, plan in self.splits.items()
            for start in self._starts(split)
            if self._marker(split, start).exists()
        )

    def broken(self, split: str) -> dict[int, str]:
        """Positions of a split that could not be read, and the reasons, of all written shards."""
        broken = {}
        for start in self._starts(split):
            if self._marker(split, start).exists():
                broken |= {int(i): why for i, why in json.loads(self._marker(split, start).read_text(encoding="utf-8")).items()}
        return broken

    def plain(self, split: str) -> FeatureSplit:
        """The plain view of a split as it is stored, without images that could not be read; called after all shards are written."""
        layout, intact = self._layouts[split], torch.ones(len(self.splits[split]), dtype=torch.bool)
        intact[list(self.broken(split))] = False
        stored = layout.tensors()
        features, labels, rows = (stored[f"{split}/{name}"] for name in ("features/plain", "labels", "rows"))
        return FeatureSplit(split, ("plain",), (features if intact.all() else features[intact],), labels[intact], rows[intact])

    def publish(
        self,
        description: Description,
        head: Mapping[str, Tensor],
        texts: Mapping[str, str],
        images: Images | None = None,
        verb: str = "",
    ) -> Manifest:
        """Leave out the broken rows, audit the features, and move the finished cache to ``directory``; called by one process after all shards are written.

        Args:
            description: of the cache without the broken rows.
            head: ``head/weight`` and ``head/bias`` of the features as they came from the backbone, or nothing.
            texts: further files by name.
            images: see ``audit``.
            verb: see ``audit``.

        Raises:
            UserError: the directory cannot be written, a shard is missing, or the stored type loses what the features say.
        """
        for split in self.splits:
            if not _appear([self._marker(split, start) for start in self._starts(split)]):
                raise UserError(f"{self.directory}: not all shards of {split} are there; the same command writes the others")
        try:
            sums = {split: read_sums([self._sums(split, start) for start in self._starts(split)]) for split in self.splits}
            of_train, names = sums["train"].moments, description.dataset.class_names
            standard = of_train if self.standardise else None
            intact = {split: self._intact(split) for split in self.splits}
            raw = _tensors(intact)
            final = {split: self._final(split, layout, standard) for split, layout in intact.items()}
            stored = _tensors(final)
            lost = (
                {f"{split}/features": of_split.error for split, of_split in sums.items()}
                if final == intact
                else round_trips(raw, stored, standard)
            )
            precision = require_precision(self.dtype, lost, raw, of_train, standard, verb)
            noticed = audit(raw, of_train, names, precision, self.standardise, verb, images)
            more = {**head, **standardisation(standard)}
            if head and standard is not None:
                more |= dict(zip(head, standard.of_head(*head.values()), strict=True))
            for split, file in final.items():
                file.path.replace(self.files / f"{split}.safetensors")
            for group in {name.split("/")[0] for name in more}:
                save_tensors(
                    {name: tensor for name, tensor in more.items() if name.startswith(f"{group}/")}, self.files / f"{group}.safetensors"
                )
            for name, text in texts.items():
                (self.files / name).write_text(text, encoding="utf-8")
            for leftover in self.files.glob("*-*.safetensors"):
                leftover.unlink()
            parts = {name: [(f"{name.split('/')[0]}.safetensors", name, tensor)] for name, tensor in {**stored, **more}.items()}
            manifest = publish(self.files, self.directory, replace(description, audit={**description.audit, **noticed}), parts)
        except OSError as error:
            raise unwritten(self.directory, error) from None
        shutil.rmtree(self.work, ignore_errors=True)
        return manifest

    def _intact(self, split: str) -> _Layout:
        """The file of a split without its broken rows."""
        layout, broken = self._layouts[split], self.broken(split)
        if not broken:
            return layout
        intact = torch.ones(len(layout.plan), dtype=torch.bool)
        intact[list(broken)] = False
        return layout.copied(self.files / f"{split}-intact.safetensors", layout.dtype, intact)

    def _final(self, split: str, layout: _Layout, standard: Moments | None) -> _Layout | _Coded:
        """The file of a split in its stored type, standardised where moments are given."""
        path = self.files / f"{split}-final.safetensors"
        if self.dtype == "affine8":
            codes = encoded(self.dtype, layout.tensors(), standard)
            save_tensors(codes, path)
            return _Coded(path, codes)
        return layout if standard is None else layout.copied(path, DTYPES[self.dtype], change=standard.standardised)

    def _starts(self, split: str) -> range:
        return range(0, len(self.splits[split]), self.shard)

    def _marker(self, split: str, start: int) -> Path:
        return self.done / f"{split}-{start:09d}"

    def _sums(self, split: str, start: int) -> Path:
        return self.done / f"{split}-{start:09d}.sums"


def remove_unfinished(directory: Path, current: Path | None = None) -> None:
    """Remove what extractions to ``directory`` that were killed left beside it, but for ``current``."""
    for unfinished in directory.parent.glob(f".{glob.escape(directory.name)}.*.extracting"):
        if unfinished != current:
            shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True)
class _Coded:
    """A file of 8-bit codes, and its arrays."""

    path: Path
    codes: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        return self.codes


class _Layout:
    """One safetensors file of known size: labels and rows, then the features of every view."""

    def __init__(self, path: Path, split: str, plan: SplitPlan, dim: int, dtype: torch.dtype) -> None:
        self.path, self.split, self.plan, self.dim, self.dtype = path, split, plan, dim, dtype
        n, offset, header = len(plan), 0, {}
        shapes = [("labels", torch.int64, [n]), ("rows", torch.int64, [n]), *((f"features/{view}", dtype, [n, dim]) for view in plan.views)]
        for name, kind, shape in shapes:
            size = kind.itemsize * n * (dim if len(shape) == 2 else 1)
            header[f"{split}/{name}"] = {"dtype": _NAMES[kind], "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header).encode()
        self.header = text + b" " * (-len(text) % 8)
        self.size = 8 + len(self.header) + offset
        self.offsets = {name: 8 + len(self.header) + info["data_offsets"][0] for name, info in header.items()}

    def write_header(self) -> bool:
        """Create the file with labels and rows unless it exists; returns whether it was created."""
        if self.path.exists() and self.path.stat().st_size == self.size:
            return False
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            file.write(struct.pack("<Q", len(self.header)) + self.header)
            file.truncate(self.size)
            for name, values in (("labels", self.plan.labels), ("rows", self.plan.rows)):
                file.seek(self.offsets[f"{self.split}/{name}"])
                file.write(_bytes(values.long()))
        partial.replace(self.path)
        return True

    def write(self, start: int, features: Mapping[str, Tensor]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            for view, tensor in features.items():
                data, at = _bytes(tensor), self.offsets[f"{self.split}/features/{view}"] + start * self.dim * self.dtype.itemsize
                while data:
                    count = os.pwrite(descriptor, data, at)
                    data, at = data[count:], at + count
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def tensors(self) -> dict[str, Tensor]:
        """All arrays, memory-mapped."""
        return {name: stored_tensor(self.path, name) for name in self.offsets}

    def copied(
        self, path: Path, dtype: torch.dtype, rows: Tensor | None = None, change: Callable[[Tensor], Tensor] = torch.Tensor.contiguous
    ) -> _Layout:
        """A copy at ``path`` with the rows where a mask (N,) is True, of another type, changed before it is rounded to that."""
        mask = torch.ones(len(self.plan), dtype=torch.bool) if rows is None else rows
        path.unlink(missing_ok=True)
        copy, index = _Layout(path, self.split, self.plan.where(mask), self.dim, dtype), mask.nonzero().squeeze(1)
        copy.write_header()
        for view in self.plan.views:
            features, start = stored_tensor(self.path, f"{self.split}/features/{view}"), 0
            for some in index.split(_COPY_ROWS):
                copy.write(start, {view: change(features[some]).to(dtype)})
                start += some.numel()
        return copy


def _tensors(files: Mapping[str, _Layout | _Coded]) -> dict[str, Tensor]:
    return {name: tensor for file in files.values() for name, tensor in file.tensors().items()}


def _appear(paths: Sequence[Path]) -> bool:
    """Whether all paths exist; a network file system may show files of another machine some seconds late."""
    end = time.monotonic() + PATIENCE
    while not all(path.exists() for path in paths):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


@contextmanager
def only_one(directory: Path, waiting: str) -> Iterator[None]:
    """Hold the lock of the cache at ``directory``, so that two processes never write it at once; prints ``waiting`` when another holds it.

    The lock ends with the process that holds it; worker processes of a killed process may hold it for some seconds.

    Raises:
        UserError: the directory cannot be written.
    """
    path = directory.parent / f".{directory.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, waiting)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written ({error.strerror or error}); {elsewhere(directory)}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while the lock is held: a waiting process sees that the file is gone, and creates a new one
        os.close(descriptor)


def _locked(path: Path, waiting: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)  # noqa: T201 - a person waits for it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def identity(**fields: object) -> str:
    """Hash of the fields that determine the numbers of a cache, eight hex digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
