import numpy as np
import pytest
import torch
from extracting import extract_from
from small_image_files import write_cifar10

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import UserError
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.sources import view_draws

pytestmark = pytest.mark.usefixtures("light_resnet20")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("data") / "cifar10", n_max=12).parent


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_backbone("resnet20", 10).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network


@pytest.fixture(scope="module")
def request_(data_dir, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_weights(network, folder / "w.safetensors")
    return {
        "dataset": "cifar10_lt", "data_dir": data_dir, "backbone": "resnet20", "weights": folder / "w.safetensors", "imbalance_factor": 4, "views": 2,
        "accelerator": "cpu", "progress": False, "dtype": "float32",
    }  # fmt: skip


def by_hand(network, images, spec):
    """Features of single images, prepared with numpy."""
    mean, std = (np.array(s, np.float64)[:, None, None] for s in (spec.mean, spec.std))
    inputs = [torch.from_numpy(((x / 255 - mean) / std).astype(np.float32)) for x in images]
    with torch.inference_mode():
        return torch.cat([network.features(x[None]) for x in inputs])


def test_features_are_those_of_the_network(request_, network, data_dir, tmp_path):
    extract_from(**request_, out=tmp_path / "cache", batch_size=7)
    cache, data = open_cache(tmp_path / "cache"), load_small_images("cifar10_lt", data_dir, imbalance_factor=4)
    for name, split in data.splits.items():
        stored = cache.split(name)
        assert torch.equal(stored.labels, torch.from_numpy(split.labels))
        assert torch.equal(stored.rows, torch.from_numpy(split.rows))
        assert torch.allclose(stored.view("plain"), by_hand(network, split.images, data.spec), atol=1e-4)
    assert torch.allclose(cache.split("test").view("flip"), by_hand(network, data.splits["test"].images[..., ::-1], data.spec), atol=1e-4)
    images, draws = data.splits["train"].images, view_draws("aug2", len(data.splits["train"]))
    cut = [
        np.pad(x, ((0, 0), (4, 4), (4, 4)))[:, t : t + 32, u : u + 32][:, :, :: -1 if f else 1]
        for x, (t, u), f in zip(images, draws.corner.tolist(), draws.flip.tolist(), strict=True)
    ]
    assert torch.allclose(cache.split("train").view("aug2"), by_hand(network, cut, data.spec), atol=1e-4)
    assert torch.equal(cache.head().weight, network.fc.weight)


def test_views_are_seeded_and_differ():
    first, again, other = view_draws("aug1", 50), view_draws("aug1", 50), view_draws("aug2", 50)
    assert torch.equal(first.corner, again.corner)
    assert not torch.equal(first.corner, other.corner)


def test_a_second_call_returns_at_once_and_removes_what_a_kill_after_the_last_step_left(request_, tmp_path, monkeypatch):
    out = tmp_path / "[a] cache"
    manifest = extract_from(**request_, out=out)
    monkeypatch.setattr("lt_bench.features.extraction.extract._extract_missing", lambda *_: pytest.fail("extracted again"))
    (tmp_path / ".[a] cache.01234567.extracting" / "done").mkdir(parents=True)
    (tmp_path / ".another.01234567.extracting").mkdir()
    assert extract_from(**request_, out=out) == manifest
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".extracting")] == [".another.01234567.extracting"]
    with pytest.raises(UserError, match=r"cache: views is .*expected"):
        extract_from(**request_ | {"views": 1}, out=out)
    with pytest.raises(UserError, match=r"cache: imbalance_factor is 4\.0, expected 3\.0"):
        extract_from(**request_ | {"imbalance_factor": 3}, out=out)


def test_more_validation_images_are_another_cache_of_the_same_split(request_, data_dir, tmp_path):
    """Train and test are bit for bit those of the usual cache, and neither is taken for the other."""
    usual, more = (tmp_path / name for name in ("usual", "more"))
    extract_from(**request_, out=usual)
    extract_from(**request_, val_per_class="all", out=more)
    one, other = open_cache(usual), open_cache(more)
    data = load_small_images("cifar10_lt", data_dir, imbalance_factor=4, val_per_class="all")
    assert torch.equal(other.split("val").labels, torch.from_numpy(data.splits["val"].labels))
    assert torch.equal(other.split("val").rows, torch.from_numpy(data.splits["val"].rows))
    assert len(other.split("val")) > len(one.split("val"))
    assert other.manifest.dataset == one.manifest.dataset
    assert other.key != one.key
    for split in ("train", "test"):
        for view in one.split(split).views:
            assert torch.equal(one.split(split).view(view), other.split(split).view(view))
    assert "validation: all of val.parquet and train.parquet outside the subset, unseen by the backbone" in other.manifest.origin
    for out, asked in ((usual, "all"), (more, None), (more, 4)):
        with pytest.raises(UserError, match="it holds other validation images than asked for \\(--val-per-class\\); name another place"):
            extract_from(**request_, val_per_class=asked, out=out)
    assert extract_from(**request_, val_per_class="all", out=more) == other.manifest


def test_wrong_requests(request_, tmp_path):
    with pytest.raises(UserError, match="the weights are of another"):
        extract_from(**request_ | {"backbone": "resnet32"}, out=tmp_path / "cache")
    with pytest.raises(UserError, match="views is -1"):
        extract_from(**request_ | {"views": -1}, out=tmp_path / "cache")
    with pytest.raises(UserError, match="not one of float16"):
        extract_from(**request_ | {"dtype": "int4"}, out=tmp_path / "cache")
    with pytest.raises(UserError, match="no such weights file"):
        extract_from(**request_ | {"weights": tmp_path / "none.safetensors"}, out=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
