"""Stage 1 by two processes: the network of one, mixup's partners too; and what one of them cannot decode ends both, or is left out by both."""

import multiprocessing
import os
import socket
import sys

import lightning.fabric
import lightning.pytorch  # noqa: F401 - before the processes are forked, so that it is paid once
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from photos import write_photos
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.transform import Transform
from lt_bench.bench.options import PretrainOptions
from lt_bench.bench.pretrain import pretrain
from lt_bench.core.errors import UserError
from lt_bench.data.images import augmented, broken, views
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.images.transforms import Augmentation
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageData, ImageSplit
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.pretrain.image_files import FileInputs, FilePretraining
from lt_bench.engine.pretrain.recipes import Stage1Recipe
from lt_bench.engine.pretrain.small_images import Pretraining
from lt_bench.features.cache import open_cache
from lt_bench.strategies.recipe import Recipe

pytestmark = pytest.mark.usefixtures("light_resnet20")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPTIMISATION = Recipe(lr=0.1, momentum=0.9, weight_decay=1e-2, batch_size=9, epochs=2, schedule="constant")


class Plain(Backbone):
    """Without batch statistics, which on CPUs are each process's own."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, 2)
        self.fc = torch.nn.Linear(6, 3)

    def features(self, images):
        return F.relu(self.conv(images)).mean((2, 3))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", {"a": 20, "b": 10, "c": 6}, size=(40, 36))


def in_memory():
    generator = np.random.default_rng(0)
    pixels, labels = generator.integers(0, 256, (31, 3, 8, 8), dtype=np.uint8), np.arange(31) % 3
    return ImageData(
        spec=dataset_spec("cifar10_lt"), splits={"train": ImageSplit(pixels, labels, np.arange(31))}, class_names=("a", "b", "c"), train_counts=(11, 10, 10),
        imbalance_factor=1.0, profile="exponential", selection="first", val_source="", split_hash="",
    )  # fmt: skip


def trained(mixup, photos, world):
    """Weights and figures of stage 1 in float64, on images in memory or on files."""
    torch.manual_seed(0)
    recipe = Stage1Recipe("test", "", OPTIMISATION, mixup=mixup)
    if photos is None:
        module = Pretraining(Plain(), in_memory(), recipe, seed=3)
    else:
        inputs = FileInputs(Transform(MEAN, STD, resize=18, crop=16), Augmentation(16), True, 0)
        module = FilePretraining(Plain(), load_images("folder", photos), inputs, recipe, seed=3)
    strategy = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    Trainer(
        accelerator="cpu", devices=world, strategy=strategy, max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    ).fit(module)  # fmt: skip
    return {**module.network.state_dict(), "figures": torch.tensor(list(module.epoch_figures().values()))}


def breaking(path):
    """A decoder to which one image is broken."""

    def decoded(source, upright=True):
        if str(source).endswith(path):
            raise BrokenImage("torn")
        return decode(source, upright)

    return decoded


def process(rank, port, action, out, torn):
    """One of two processes as Lightning starts them; to the second alone the image ``torn`` is broken."""
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    if rank == 1 and torn:
        for module in (augmented, broken, views):
            module.decode = breaking(torn)
    try:
        action(out)
    except UserError as error:
        out.with_name(f"error{rank}").write_text(str(error))
        sys.exit(2)


def two(action, out, torn=""):
    """Exit codes of two processes that do the same."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=process, args=(rank, port, action, out, torn)) for rank in (0, 1)]
    for one in pair:
        one.start()
    for one in pair:
        one.join(60)
    for one in pair:
        one.kill()  # where they wait for each other
        one.join()
    return [one.exitcode for one in pair]


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("mixup", [0.0, 0.7])
def test_two_processes_are_one(mixup, files, photos, tmp_path):
    where = photos if files else None
    assert two(lambda out: torch.save(trained(mixup, where, 2), out.with_name(f"{os.environ['LOCAL_RANK']}.pt")), tmp_path / "x") == [0, 0]
    alone = trained(mixup, where, 1)
    for rank in (0, 1):
        for name, tensor in torch.load(tmp_path / f"{rank}.pt").items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-5, atol=1e-6, msg=name)


def stage1(photos, **changes):
    def action(out):
        options = PretrainOptions(
            dataset="folder", data_dir=photos, out=out, backbone="resnet20", recipe="los", epochs=1, views=0, accelerator="cpu", workers=0, devices=2,
            **changes,
        )  # fmt: skip
        pretrain(options, progress=False)

    return action


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_that_one_process_cannot_decode_ends_both(split, photos, tmp_path):
    torn = load_images("folder", photos).splits[split].paths[-1]
    assert two(stage1(photos), tmp_path / "run", torn) == [2, 2]
    assert f"{torn}: torn; mend it" in (tmp_path / "error0").read_text()
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert not (tmp_path / "error1").exists()


def test_an_image_that_one_process_cannot_decode_is_left_out_by_both(photos, tmp_path):
    train = load_images("folder", photos).splits["train"]
    torn = train.paths[5]  # the second process looks at every other image
    assert two(stage1(photos, skip_broken=True), tmp_path / "run", torn) == [0, 0]
    cache = open_cache(tmp_path / "run" / "cache")
    assert sum(cache.manifest.dataset.train_counts) == len(train) - 1
    assert torn not in (cache.path / "images.csv").read_text()


def test_other_images_on_another_node_are_told(photos, tmp_path):
    other = write_photos(tmp_path / "other", {"a": 20, "b": 10, "c": 5}, size=(40, 36))
    codes = two(lambda out: stage1(other if os.environ["LOCAL_RANK"] == "1" else photos)(out), tmp_path / "run")
    assert codes == [2, 2]
    assert "the processes do not see the same images" in (tmp_path / "error0").read_text()
