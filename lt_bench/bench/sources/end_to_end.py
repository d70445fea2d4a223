"""``--mode end-to-end``: a strategy's loss trains head and backbone together, by a stage-1 recipe or after a phase 1 that methods share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.checkpoints import read_checkpoint, tensors_at
from lt_bench.backbones.loading import fill, put_head
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.training_rows import ROWS, read_training_rows
from lt_bench.backbones.weights import save_weights, weights_hash
from lt_bench.bench.planning import Planned
from lt_bench.bench.pretrain import fresh_network
from lt_bench.bench.sources.images import PixelSource
from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError
from lt_bench.data.hashes import pixel_hashes
from lt_bench.engine.checkpoints import resumed
from lt_bench.engine.heads.fit import Fitted
from lt_bench.engine.heads.overrides import STEP, Overrides
from lt_bench.engine.heads.pool import state_key
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.heads.whole_network import WholeNetwork, draws_its_head
from lt_bench.engine.pretrain.callbacks import KeepCheckpoint
from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.entry import Entry

LAST, WEIGHTS = "last.ckpt", "weights.safetensors"


@dataclass(frozen=True)
class Phase1:
    """The network of a phase 1, with its classifier.

    Attributes:
        network: on the CPU.
        epochs: number of epochs trained, from a checkpoint of training; 0 for bare weights.
        hash: of the weights.
        rows: hashes of the images that it was trained on, where they are known.
    """

    network: Backbone
    epochs: int
    hash: str
    rows: Hashes | None = None


@dataclass
class EndToEndSource(PixelSource):
    """Images, and a backbone that is fitted with its head; ``network`` is measured until the first fit.

    Attributes:
        backbone: its name.
        phase1: network that every fit starts from; None for fresh weights, seeded by the repetition.
        start: number of epochs of the schedule that phase 1 covered.
        directory: of checkpoints and weights, a folder for each run.
        checkpoint_every: epochs between two checkpoints.
        keep_epochs: epochs whose checkpoint stays, as a phase 1 of others.
    """

    backbone: str = ""
    phase1: Phase1 | None = None
    start: int = 0
    directory: Path = Path("end-to-end")
    checkpoint_every: int = 5
    keep_epochs: Sequence[int] = ()
    _trained: int = field(default=0)

    def fitted(
        self, planned: Sequence[Planned], callbacks: Callable[[], Sequence[Callback]] = tuple
    ) -> Iterator[tuple[list[Planned], Fitted]]:
        """Fit the planned runs one by one; an interrupted run resumes from its last checkpoint."""
        for run in planned:
            self._trained = 0
            self.use(self._initial(run.repetition).to(memory_format=torch.channels_last).to(self.device))
            place = self.directory / run.id
            place.mkdir(parents=True, exist_ok=True)
            last = place / LAST
            head = None if self.phase1 is None else head_of(self.phase1.network)
            accompany: list[Callback] = [WholeNetwork(self.network, self.start, head), *self.callbacks_of([run], callbacks)]
            accompany.append(KeepCheckpoint(last, self.checkpoint_every, self.keep_epochs, self._rows))
            job = HeadJob(run.entry, run.hyperparameters, run.repetition)
            with resumed(last) as start:
                fitted = self.fit([job], "trained", accompany, start)
            self._check_finite(run)
            self._trained = sum(p.numel() for name, p in self.network.named_parameters() if not name.startswith("fc."))
            self._save(fitted.module(), place / WEIGHTS)
            yield [run], fitted
            last.unlink(missing_ok=True)

    def varies(self, run: Planned) -> str:
        """Random parts that differ between seeds: all of a fit, but for a given phase 1."""
        if self.phase1 is None:
            return "initial weights, batch order and augmentation"
        drawn = run.entry.initial_head.startswith("random") and not draws_its_head(run.entry.class_for(run.hyperparameters)[0])
        return f"{'initial head, ' if drawn else ''}batch order and augmentation, one phase 1"  # drawn: as of a cosine classifier

    def trained_parameters(self, fitted: Fitted) -> int:
        """Number of fitted parameters of head and network."""
        return fitted.strategy.trained_parameters() + self._trained

    def _initial(self, repetition: int) -> Backbone:
        if self.phase1 is not None:
            return copy.deepcopy(self.phase1.network)
        return fresh_network(self.backbone, len(self.data.train_counts), repetition)

    def _check_finite(self, run: Planned) -> None:
        for name, tensor in self.network.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise UserError(f"{run.entry.public_name}: training diverged, {name} is not finite; use a smaller lr")

    def _save(self, head: torch.nn.Module, path: Path) -> None:
        """Save the network, with the head as its classifier where the head is a linear layer, so that features can be extracted from the file."""
        if isinstance(head, torch.nn.Linear):
            bias = torch.zeros(head.out_features) if head.bias is None else head.bias
            put_head(self.network, (head.weight, bias))
        save_weights(self.network, path, rows=self._rows)

    @cached_property
    def _rows(self) -> Hashes:
        """Hashes of the images that the network has seen after a fit."""
        own = np.unique(pixel_hashes(self.data.splits["train"]))
        return own if self.phase1 is None or self.phase1.rows is None else np.union1d(own, self.phase1.rows)


def check_end_to_end(entry: Entry) -> None:
    """Refuse a strategy that has no loss to train a network with.

    Raises:
        UserError: the strategy is not fitted by batches, or has a training step of its own, written for frozen features.
    """
    if entry.fitting != "sgd":
        raise UserError(f"{entry.name} fits nothing by batches, so it cannot train a network; choose a strategy that is trained")
    cls = entry.load()
    if Overrides(cls).own_training or any(getattr(cls, name) is not getattr(Strategy, name) for name in STEP):
        raise UserError(f"{entry.name} has a step of its own that is written for frozen features; it cannot train a network")


def check_trains_head(entry: Entry, network: Backbone, train_counts: tuple[int, ...], hyperparameters: dict[str, Any]) -> None:
    """Refuse a strategy that holds the classifier fixed.

    Raises:
        UserError: the classifier is fixed.
    """
    cls, given = entry.class_for(hyperparameters)
    strategy = cls(Facts(network.dim, train_counts, head_of(network)), **given)
    if not strategy.weight.requires_grad:
        raise UserError(f"{entry.name} corrects a classifier that is held fixed, so it cannot train a network from its beginning")


def head_of(network: Backbone) -> Head:
    """The classifier of a network."""
    return Head(network.fc.weight.detach(), network.fc.bias.detach())


def read_phase1(path: Path, backbone: str, num_classes: int) -> Phase1:
    """The network of a checkpoint of ``lt-bench pretrain --keep-epochs`` or of an end-to-end run, or of a weights file.

    Raises:
        UserError: the file is absent, damaged, or of another backbone.
    """
    content: Any = read_checkpoint(path)
    state, epochs = tensors_at(content, "state_dict"), 0
    if "loops" in content and state is not None:
        epochs = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        whole = tensors_at(content, f"callbacks.{state_key(WholeNetwork)}.network")
        if whole is None:
            state = {name.removeprefix("network."): tensor for name, tensor in state.items() if name.startswith("network.")}
        elif "strategies.0.weight" in state and "strategies.0.bias" in state:
            state = {**whole, "fc.weight": state["strategies.0.weight"][0], "fc.bias": state["strategies.0.bias"][0]}
    network = build_backbone(backbone, num_classes)
    tensors = tensors_at(content, "") if state is None else state
    if not tensors or fill(network, tensors, str(path)) is None:
        raise UserError(f"{path}: no network with a classifier for {num_classes} classes; phase 1 is a checkpoint or weights of {backbone}")
    return Phase1(network, epochs, weights_hash(tensors), _rows_of(content, path))


def _rows_of(content: Any, path: Path) -> Hashes | None:
    """Hashes of training images that a checkpoint or weights file carries; None where it has none."""
    for key in (KeepCheckpoint.__name__, state_key(KeepCheckpoint)):  # of stage 1, of an end-to-end run
        carried = tensors_at(content, f"callbacks.{key}")
        if carried is not None and ROWS in carried:
            return carried[ROWS].numpy().view(np.uint64)
    return read_training_rows(path)
