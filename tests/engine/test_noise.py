"""Stage 1 of networks with dropout and stochastic depth: twice the same weights, bit for bit, and broken off and gone on the same."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from lt_bench.backbones.registry import backbone_names, backbone_spec, build_backbone
from lt_bench.data.readers.small_images import ImageData, ImageSplit
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.noise import SeededNoise, generators_restored
from lt_bench.engine.pretrain.callbacks import KeepCheckpoint
from lt_bench.engine.pretrain.recipes import Stage1Recipe
from lt_bench.engine.pretrain.small_images import Pretraining
from lt_bench.strategies.recipe import Recipe

NOISY = ("Dropout", "StochasticDepth", "DropPath")
LARGEST = 60e6
"""Parameters of the largest network that is trained here."""
RECIPE = Stage1Recipe("test", "", Recipe(lr=1e-3, momentum=0.9, batch_size=2, epochs=2))


def images(size):
    labels = np.arange(4) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, size, size), dtype=np.uint8)
    splits = {"train": ImageSplit(pixels, labels, np.arange(4))}
    return ImageData(
        spec=dataset_spec("cifar10_lt"), splits=splits, class_names=("a", "b"), train_counts=(2, 2), imbalance_factor=1.0, profile="exponential", selection="first",
        val_source="", split_hash="",
    )  # fmt: skip


class PowerCut(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise OSError("power cut")


def weights(name, size, folder, *, broken_off=False, seed=0, disturbed=0):
    """The trained weights of a network; ``disturbed`` is where the caller's own generator stands."""
    with generators_restored(torch.device("cpu")):
        torch.manual_seed(0)
        network = build_backbone(name, 2)
        torch.manual_seed(disturbed)
        for cut in (True, False) if broken_off else (False,):
            module = Pretraining(network if not broken_off or cut else build_backbone(name, 2), images(size), RECIPE, seed=seed)
            callbacks = [SeededNoise(seed), KeepCheckpoint(folder / "last.ckpt", 1), *([PowerCut()] if cut else [])]
            trainer = Trainer(
                accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=callbacks
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if cut:
                    with pytest.raises(OSError, match="power cut"):
                        trainer.fit(module)
                else:
                    trainer.fit(module, ckpt_path=str(folder / "last.ckpt") if broken_off else None, weights_only=True)
    return {key: tensor.clone() for key, tensor in module.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def noisy(name):
    try:
        with torch.device("meta"):
            network = build_backbone(name, 2)
    except NotImplementedError:  # RegNets compute their widths with tensors
        network = build_backbone(name, 2)
    rates = [getattr(module, "p", 0) for module in network.modules() if type(module).__name__ in NOISY]
    return any(rates) and sum(parameter.numel() for parameter in network.parameters()) <= LARGEST


def smallest(name):
    """The size of the images: 64, or where a network takes no other than its own, that."""
    with torch.device("meta"):
        try:
            build_backbone(name, 2).eval()(torch.empty(2, 3, 64, 64))
        except (RuntimeError, AssertionError, ValueError):
            return backbone_spec(name).input_size
    return 64


def check(name, folder, size):
    """One training is whole; the other begins with another state of the caller's generator, is broken off and goes on."""
    assert same(weights(name, size, folder), weights(name, size, folder, broken_off=True, disturbed=1))


def test_a_network_with_noise_trains_the_same_twice_and_when_broken_off(tmp_path):
    name = "torchvision.mobilenet_v3_small"
    assert noisy(name)
    whole = weights(name, 64, tmp_path)
    assert same(whole, weights(name, 64, tmp_path, disturbed=1))
    assert same(whole, weights(name, 64, tmp_path, broken_off=True))
    assert not same(whole, weights(name, 64, tmp_path, seed=1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", backbone_names())
def test_every_registered_network_trains_the_same_twice_and_when_broken_off(name, tmp_path):
    if not noisy(name):
        pytest.skip("draws nothing, or is too large for a test")
    check(name, tmp_path, smallest(name))


def test_the_noise_belongs_to_epoch_and_process():
    def drawn(epoch, rank, seed=0):
        trainer = dataclasses.make_dataclass("Trainer", ["current_epoch", "global_rank"])(epoch, rank)
        SeededNoise(seed).on_train_epoch_start(trainer, None)
        return torch.rand(4).tolist()

    torch.manual_seed(7)
    with generators_restored(torch.device("cpu")):
        draws = [drawn(0, 0), drawn(1, 0), drawn(0, 1), drawn(0, 0, 1)]
        assert drawn(0, 0) == draws[0]
    assert len({tuple(one) for one in draws}) == 4
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))
