"""Features of images are audited as imported ones are: what their storage loses is measured on the float32 features, and refused or mended."""

import json

import pytest
import torch
from extracting import extract_from
from photos import write_photos

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction import extract as module
from lt_bench.features.extraction.self_test import stage1_accuracy
from lt_bench.features.moments import moments, typical, width
from lt_bench.features.resumable import Resumable

pytestmark = pytest.mark.usefixtures("light_resnet20")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", {"a": 30, "b": 12, "c": 6})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights by the offset that their features have."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = build_backbone("resnet20", 3).eval()
    last = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)][-1]
    for offset in (0, 300):
        with torch.no_grad():
            last.bias.fill_(offset)
        save_weights(network, folder / f"{offset}.safetensors")
    return {offset: folder / f"{offset}.safetensors" for offset in (0, 300)}


@pytest.fixture
def of(photos, weights, monkeypatch):
    monkeypatch.setattr(module, "SHARD_VIEWS", 20)
    return lambda offset=0: {
        "dataset": "folder", "data_dir": photos, "backbone": "resnet20", "weights": weights[offset], "views": 1, "workers": 0, "batch_size": 9
    }  # fmt: skip


def test_the_error_is_that_of_all_views_in_float32(of, tmp_path):
    exact = extract_from(**of(), out=tmp_path / "exact", dtype="float32")
    stored = extract_from(**of(), out=tmp_path / "stored")
    assert exact.audit["precision"] == {"dtype": "float32", "largest_error": 0.0, "array": None, "dimension": None}
    one = open_cache(tmp_path / "exact").split("train")
    views = torch.cat([one.view("plain"), one.view("aug1")])
    share = (typical([views.half().float() - views], len(views)) / width(one.view("plain"))).nan_to_num(0)
    others = [open_cache(tmp_path / "exact").split(split) for split in ("val", "test")]
    for other in others:
        views = torch.cat([other.view(view) for view in other.views])
        usual = torch.maximum(width(other.view("plain")), width(one.view("plain")))
        share = torch.maximum(share, (typical([views.half().float() - views], len(views)) / usual).nan_to_num(0))
    assert stored.audit["precision"]["largest_error"] == pytest.approx(float(share.max()), rel=1e-2)
    assert 0 < stored.audit["precision"]["largest_error"] < 0.005
    assert stored.audit["rows"] == {split: len(open_cache(tmp_path / "stored").split(split)) for split in ("train", "val", "test")}


@pytest.mark.parametrize("dtype", ["float16", "affine8"])
def test_storage_that_loses_the_features_is_refused_and_mended(of, tmp_path, monkeypatch, dtype):
    wanted = {**of(300), "out": tmp_path / "cache", "dtype": dtype}
    message = rf"train/features.*: {dtype} changes .* `lt-bench extract --dtype float32` or .* `lt-bench extract --standardise`"
    with pytest.raises(UserError, match=message):
        extract_from(**wanted)
    assert not (tmp_path / "cache").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Resumable, "write", lambda *_: pytest.fail("a finished shard was written again"))
        with pytest.raises(UserError, match=message):
            extract_from(**wanted)
    exact = extract_from(**{**wanted, "dtype": "float32"})
    assert any("offset" in note and "`lt-bench extract --standardise`" in note for note in exact.audit["notes"])
    mended = extract_from(**{**wanted, "out": tmp_path / "mended"}, standardise=True)
    assert mended.audit["notes"] == []
    assert mended.audit["standardised"]
    assert mended.key != exact.key


@pytest.mark.parametrize(("dtype", "offset"), [("float16", 300), ("float16", 0), ("float32", 300)])
def test_storage_is_tried_before_hours_of_work(of, tmp_path, monkeypatch, dtype, offset):
    class Begun(Exception):
        """The first shard is written."""

    def write(*_):
        raise Begun

    monkeypatch.setattr(Resumable, "write", write)
    monkeypatch.setattr(module, "SOME", 12)
    wanted = {**of(offset), "views": 40, "out": tmp_path / "cache", "dtype": dtype}
    if dtype == "float32" or not offset:
        with pytest.raises(Begun):
            extract_from(**wanted)
    else:
        with pytest.raises(
            UserError, match=rf"12 training images: {dtype} changes .* `lt-bench extract --dtype float32` or .*--standardise`"
        ):
            extract_from(**wanted)


@pytest.mark.parametrize("what", ["a link to a folder", "a link to nothing", "a folder with files"])
def test_where_a_cache_is_to_stand(of, tmp_path, what, monkeypatch):
    out, far = tmp_path / "cache", tmp_path / "far"
    if what == "a link to a folder":
        far.mkdir()
    if "link" in what:
        out.symlink_to(far)
        extract_from(**of(), out=out)
        assert out.is_symlink()
        assert open_cache(far).key == open_cache(out).key
        assert extract_from(**of(), out=out) == open_cache(far).manifest
        return
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    monkeypatch.setattr(Resumable, "write", lambda *_: pytest.fail("it is known before the work"))
    with pytest.raises(UserError, match="cache: exists already; name a new place or an empty folder"):
        extract_from(**of(), out=out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_standardised_features_have_mean_0_and_spread_1_and_the_head_its_logits(of, tmp_path):
    extract_from(**of(300), out=tmp_path / "exact", dtype="float32")
    extract_from(**of(300), out=tmp_path / "mended", dtype="float16", standardise=True)
    exact, mended = (open_cache(tmp_path / name) for name in ("exact", "mended"))
    mended.verify()
    raw, standard = exact.split("train").view("plain"), moments(exact.split("train").view("plain"))
    for split, view in (("train", "plain"), ("train", "aug1"), ("val", "plain"), ("test", "flip")):
        expected = standard.standardised(exact.split(split).view(view))
        assert torch.allclose(mended.split(split).view(view).float(), expected, atol=5e-3, rtol=1e-3)
    mean, divisor = mended.standardisation()
    assert torch.allclose(mean, raw.double().mean(0), rtol=1e-9)
    assert torch.allclose(divisor, standard.divisor, rtol=1e-9)
    raw_logits = raw.double() @ exact.head().weight.double().T + exact.head().bias
    logits = mended.split("train").view("plain").double() @ mended.head().weight.double().T + mended.head().bias
    assert torch.allclose(logits, raw_logits, atol=2e-2)
    assert stage1_accuracy(mended) == stage1_accuracy(exact)


def test_broken_images_count_in_no_sum(of, photos, tmp_path):
    copy = write_photos(tmp_path / "mine", {"a": 30, "b": 12, "c": 6})
    broken = copy / open_images(of, tmp_path)
    broken.write_bytes(broken.read_bytes()[:60])
    extract_from(**{**of(300), "data_dir": copy}, out=tmp_path / "cache", standardise=True, dtype="float32", skip_broken=True)
    plain = open_cache(tmp_path / "cache").split("train").view("plain").double()
    assert torch.allclose(plain.mean(0), torch.zeros(64, dtype=plain.dtype), atol=1e-5)
    assert torch.allclose(plain.std(0, correction=0), torch.ones(64, dtype=plain.dtype), atol=1e-4)


def open_images(of, tmp_path):
    """The path of a training image."""
    extract_from(**of(), out=tmp_path / "whole", dtype="float32")
    return next(line for line in (tmp_path / "whole" / "images.csv").read_text().splitlines() if line.startswith("train,")).split(",")[2]


def test_the_verb_shows_the_audit_and_gives_it_to_programs(cli, of, photos, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    root = write_photos(tmp_path / "own", {"train/a": 8, "train/b": 6, "val/a": 3, "val/b": 3, "test/a": 4, "test/b": 4})
    (root / "test" / "b" / "copy.png").write_bytes((root / "train" / "a" / "0.png").read_bytes())
    words = ["extract", "--dataset", "folder", "--data-dir", root, "--backbone", "resnet20", "--weights", weights[0], "--views", 0]
    done = cli(*map(str, [*words, "--workers", 0, "--accelerator", "cpu", "--json"]))
    assert done.code == 0, done.err
    audit = json.loads(done.out)["audit"]
    assert audit["repeated_rows"]["test in train"] == 1
    assert audit["notes"][0] == (
        "OVERLAP: 1 of 9 test images are also training images, 1 of them with another label (is one wrong?); what is measured there was trained on "
        "(the first: test/b/copy.png, labelled b, is train/a/0.png, labelled a)"
    )
    assert audit["repeated_with_another_label"]["test in train"] == 1
    assert [pair["name"] for pair in audit["repeated_pairs"]] == ["test/b/copy.png"]
    assert "audit: OVERLAP: 1 of 9 test images" in done.err
    manifest = json.loads(next((tmp_path / "home" / "caches").glob("*/manifest.json")).read_text())
    assert manifest["audit"] == audit
    assert manifest["independence"]["near_identical_to_training"] == {"val": 0, "test": 1}
    assert "1 of 9 test images have one in train" in done.err
    again = cli(*map(str, [*words, "--standardise", "true", "--workers", 0, "--accelerator", "cpu"]))
    assert again.code == 0, again.err
    assert "-standardised" in again.out
