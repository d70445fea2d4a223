"""``lt-bench import-features``: arrays in files become a cache, or a line that names what is wrong."""

import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from lt_bench.features.cache import open_cache
from lt_bench.features.from_arrays import held_out
from lt_bench.results.store import Store

K, D = 4, 5
COUNTS = (12, 7, 4, 2)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    found = {}
    for split, counts in (("train", COUNTS), ("val", (2, 2, 2, 2)), ("test", (3, 3, 3, 3))):
        labels = rng.permutation(np.repeat(np.arange(K), counts))
        found[split] = {"features": rng.normal(size=(labels.size, D)).astype(np.float32), "labels": labels}
    return found


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    elif path.suffix in (".pt", ".pth"):
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({name: list(array) if array.ndim > 1 else array for name, array in arrays.items()}), path)
    else:
        np.save(path, arrays["features"])
        np.save(path.with_name(f"{path.stem}-labels.npy"), arrays["labels"])
    return str(path)


def line(folder, data, suffix=".npz", name="mine", **more):
    words = ["import-features", "--name", name, "--dtype", "float32"]
    for split, arrays in data.items():
        words += [f"--{split}", write(folder / f"{split}{suffix}", arrays)]
        if suffix == ".npy":
            words += [f"--{split}-labels", str(folder / f"{split}-labels.npy")]
    for option, value in more.items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_recorded_command_has_a_file_with_a_space_as_one_word(cli, data, home, tmp_path):
    place = tmp_path / "first draft.npz"
    words = [word if word != str(tmp_path / "train.npz") else str(place) for word in line(tmp_path, data)]
    (tmp_path / "train.npz").rename(place)
    assert cli(*words).code == 0
    command = shlex.split(open_cache(home / "caches" / "mine").manifest.command)
    assert command[:6] == ["lt-bench", "import-features", "--name", "mine", "--dataset", "embeddings"]
    assert command[command.index("--train") + 1] == "first draft.npz"


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".parquet", ".pt", ".pth"])
def test_every_format_gives_the_same_cache(cli, data, home, tmp_path, suffix):
    done = cli(*line(tmp_path, data, suffix))
    assert (done.code, done.err) == (0, "")
    cache = open_cache(home / "caches" / "mine")
    for split, arrays in data.items():
        assert np.array_equal(cache.split(split).view("plain").numpy(), arrays["features"])
        assert cache.split(split).labels.tolist() == arrays["labels"].tolist()
    assert cache.manifest.dataset.train_counts == COUNTS
    assert cache.manifest.dataset.class_names == ("0", "1", "2", "3")
    assert cache.manifest.dataset.val_seen_by_backbone is False
    reference = tmp_path / "reference"
    assert cli(*line(tmp_path, data, ".npz", out=reference)).code == 0
    assert open_cache(reference).key == cache.key  # the arrays count, not the file they came in


def test_views_rows_head_and_names(cli, data, home, tmp_path):
    views = np.stack([data["train"]["features"] + shift for shift in (0, 1, 2)])
    flipped = np.stack([data["test"]["features"], -data["test"]["features"]])
    data["train"] |= {"features": views, "rows": np.arange(25) * 10}
    data["test"] |= {"features": flipped}
    np.savez(tmp_path / "head.npz", weight=np.ones((K, D), dtype=np.float32), bias=np.arange(K, dtype=np.float32))
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n\ndog\n")
    words = line(
        tmp_path,
        data,
        head=tmp_path / "head.npz",
        class_names=tmp_path / "names.txt",
        backbone="mine",
        stage1="in a lab",
        imbalance_factor=6,
    )
    assert cli(*words).code == 0
    cache = open_cache(home / "caches" / "mine")
    manifest = cache.manifest
    assert manifest.views == {"train": ("plain", "aug1", "aug2"), "val": ("plain",), "test": ("plain", "flip")}
    assert np.array_equal(cache.split("train").view("aug2").numpy(), views[2])
    assert np.array_equal(cache.split("test").view("flip").numpy(), flipped[1])
    assert cache.split("train").rows.tolist() == list(range(0, 250, 10))
    assert torch.equal(cache.head().bias, torch.arange(4.0))
    assert manifest.dataset.class_names == ("ant", "bee", "cat", "dog")
    assert (manifest.backbone.name, manifest.backbone.stage1, manifest.dataset.imbalance_factor) == ("mine", "in a lab", 6.0)
    assert cli("run", "--strategy", "ce", "--cache", "mine", "--strategy.epochs", "1").code == 0
    (record,) = Store(tmp_path / "results").records()
    assert record.dataset.class_names == ["ant", "bee", "cat", "dog"]


def test_imports_that_differ_in_names_share_no_record(cli, data, home, tmp_path):
    """The names, and whether the backbone has seen validation, change no feature, and were no part of the key."""
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    (tmp_path / "other.txt").write_text("bee\nant\ncat\ndog\n")
    for name, more in {"one": {}, "two": {"class_names": tmp_path / "other.txt"}, "three": {"val_seen_by_backbone": "true"}}.items():
        assert cli(*line(tmp_path, data, name=name, **{"class_names": tmp_path / "names.txt"} | more)).code == 0
        done = cli("run", "--strategy", "ncm", "--cache", name)
        assert (done.code, "recorded in results before" in done.out) == (0, False)
    assert len({record.identity.cache_key for record in Store(tmp_path / "results").records()}) == 3


def test_a_split_is_its_content(cli, data, home, tmp_path):
    def key(**more):
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        assert cli(*line(tmp_path, data, out=out, **more)).code == 0
        return open_cache(out).manifest

    first = key()
    order = np.random.default_rng(1).permutation(25)
    data["train"] = {name: array[order] for name, array in data["train"].items()}
    assert key().dataset.split_hash == first.dataset.split_hash  # another order of rows is the same split
    data["train"]["features"][0, 0] += 1
    changed = key()
    assert changed.dataset.split_hash != first.dataset.split_hash
    assert changed.backbone.weights_hash != first.backbone.weights_hash


def test_held_out_validation_of_a_given_head_is_said_to_be_seen(cli, data, home, tmp_path):
    del data["val"]
    np.savez(tmp_path / "head.npz", weight=np.ones((K, D), dtype=np.float32))
    done = cli(*line(tmp_path, data, val_fraction=0.3, head=tmp_path / "head.npz"))
    assert "`lt-bench tune` will refuse it" in done.out
    cache = open_cache(home / "caches" / "mine")
    assert cache.manifest.dataset.val_seen_by_backbone is True
    held = np.bincount(cache.split("val").labels.numpy(), minlength=K)
    assert held.min() >= 1  # every class of two rows or more gives one
    assert held.sum() < 25 / 2
    assert (np.asarray(cache.manifest.dataset.train_counts) + held).tolist() == list(COUNTS)
    rows = torch.cat([cache.split("train").rows, cache.split("val").rows])
    assert sorted(rows.tolist()) == list(range(25))
    assert np.array_equal(cache.split("val").view("plain").numpy(), data["train"]["features"][cache.split("val").rows.numpy()])
    refused = cli("tune", "--strategy", "tau_norm", "--cache", "mine")
    assert refused.code == 2
    assert "the backbone was trained on these validation images" in refused.err
    assert cli(*line(tmp_path, data, name="other", val_fraction=1.5)).code == 2


@pytest.mark.parametrize(
    ("more", "seen"), [({}, False), ({"val_seen_by_backbone": "false"}, False), ({"val_seen_by_backbone": "true"}, True)]
)
def test_held_out_validation_is_unseen_unless_said_otherwise(cli, data, home, tmp_path, more, seen):
    del data["val"]
    np.savez(tmp_path / "head.npz", weight=np.ones((K, D), dtype=np.float32))
    head = {"head": tmp_path / "head.npz"} if more else {}  # the user's word is taken with a head too
    done = cli(*line(tmp_path, data, val_fraction=0.3, **head, **more))
    assert ("counts as unseen by the backbone" in done.out) is not seen
    manifest = open_cache(home / "caches" / "mine").manifest
    assert manifest.dataset.val_seen_by_backbone is seen
    assert "the user's word" in manifest.independence["trained_on"]
    if not seen and not more:
        assert cli("tune", "--strategy", "ncm", "--cache", "mine").code == 0


@pytest.mark.parametrize("standardise", ["false", "true"])
def test_a_fitted_head_is_what_strategies_start_from(cli, data, home, tmp_path, standardise):
    refused = "starts from the stage-1 head and there is none.*--stage1-head fit"
    done = cli(*line(tmp_path, data, name="headless"))
    assert "no stage-1 head" in done.out
    assert re.search(refused, cli("run", "--strategy", "joint", "--cache", "headless").err)
    done = cli(*line(tmp_path, data, stage1_head="fit", stage1="in a lab", standardise=standardise))
    assert "fitted a stage-1 head: logistic regression on the training rows, ridge" in done.out
    cache = open_cache(home / "caches" / "mine")
    assert re.fullmatch(r"in a lab; head: logistic regression .* chosen on validation", cache.manifest.backbone.stage1)
    assert "--stage1-head fit" in cache.manifest.command
    train, head = cache.split("train"), cache.head()
    probabilities = (train.view("plain").double() @ head.weight.T.double() + head.bias).softmax(1)
    shares = torch.tensor(COUNTS) / sum(COUNTS)
    assert torch.allclose(probabilities.mean(0).float(), shares, atol=1e-4)  # the bias is free, so the optimum has the shares of training
    done = cli("run", "--strategy", "joint", "--cache", "mine")
    assert done.code == 0, done.err
    given = {"stage1_head": "fit", "head": tmp_path / "head.npz"}
    np.savez(tmp_path / "head.npz", weight=np.ones((K, D), dtype=np.float32))
    assert "use one of them" in cli(*line(tmp_path, data, name="both", **given)).err


def test_validation_that_the_backbone_has_seen_chooses_no_ridge(cli, data, home, tmp_path):
    assert cli(*line(tmp_path, data, stage1_head="fit", val_seen_by_backbone="true")).code == 0
    assert "held-out parts" in open_cache(home / "caches" / "mine").manifest.backbone.stage1


def test_a_training_row_more_moves_no_other_into_or_out_of_validation():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (100, 50, 50))
    features = rng.normal(size=(2, 200, D)).astype(np.float32)  # two views
    features[:, 1] = features[:, 0]
    rest, val = held_out({"features": features, "labels": labels, "rows": np.arange(200)}, 0.25, 0)
    assert np.array_equal(np.sort(np.concatenate([rest["rows"], val["rows"]])), np.arange(200))
    assert np.array_equal(rest["features"], features[:, rest["rows"]])
    assert np.array_equal(val["features"], features[0, val["rows"]])
    assert 0.15 < val["rows"].size / 200 < 0.35
    assert np.isin([0, 1], val["rows"]).sum() in (0, 2)  # equal rows stay together
    order = rng.permutation(200)
    more = {
        "features": np.concatenate([rng.normal(size=(2, 1, D)).astype(np.float32), features[:, order]], axis=1),
        "labels": np.concatenate([[1], labels[order]]), "rows": np.concatenate([[200], order]),
    }  # fmt: skip
    again = held_out(more, 0.25, 0)[1]["rows"]
    assert set(again.tolist()) - {200} == set(val["rows"].tolist())
    alone = held_out({"features": features[0, :4], "labels": np.array([0, 0, 0, 1])}, 0.9, 0)[0]
    assert 1 in alone["labels"]  # a class of one keeps it


def changed(data, split, **arrays):
    return {**data, split: {**data[split], **arrays}}


def broken(data, what):
    features, labels = data["train"]["features"], data["train"]["labels"]
    return {
        "labels too few": changed(data, "train", labels=labels[:-1]),
        "labels 2-D": changed(data, "train", labels=labels[:, None]),
        "labels are floats": changed(data, "train", labels=labels.astype(np.float32)),
        "labels are words": changed(data, "train", labels=labels.astype(str)),
        "labels negative": changed(data, "train", labels=np.where(labels == 3, -1, labels)),
        "labels all negative": changed(data, "train", labels=labels * 0 - 1),
        "labels huge": changed(data, "test", labels=np.where(data["test"]["labels"] == 0, 10**9, data["test"]["labels"])),
        "features 1-D": changed(data, "train", features=features[:, 0]),
        "features are integers": changed(data, "train", features=features.astype(np.int64)),
        "no dimension": changed(data, "train", features=features[:, :0]),
        "no view": changed(data, "train", features=features[None][:0]),
        "features are words": changed(data, "train", features=features.astype(str)),
        "features NaN": changed(data, "val", features=np.where(data["val"]["features"] > 1, np.nan, data["val"]["features"])),
        "features infinite": changed(data, "test", features=np.where(data["test"]["features"] > 1, np.inf, data["test"]["features"])),
        "dimension": changed(data, "test", features=data["test"]["features"][:, :3]),
        "empty": changed(data, "train", features=features[:0], labels=labels[:0]),
        "rows too few": changed(data, "train", rows=np.arange(3)),
        "rows are floats": changed(data, "train", rows=np.arange(25.0)),
    }[what]


MESSAGES = {
    "labels too few": r"train.npz: labels have shape \(24,\) and features \(25, 5\)",
    "labels 2-D": r"train.npz: labels have shape \(25, 1\)",
    "labels are floats": "train.npz: labels are float32, expected integers",
    "labels are words": "train.npz: labels are <U",
    "labels negative": r"train\.npz: labels: found -1, expected 0\.\.K-1",
    "labels all negative": r"train\.npz: labels: found -1",
    "labels huge": "labels: found 1000000000, expected",
    "features 1-D": r"train.npz: features are float32 of shape \(25,\)",
    "features are integers": "train.npz: features are int64",
    "no dimension": r"train\.npz: features have no dimension \(they are of shape \(25, 0\)\)",
    "no view": r"train\.npz: features have no view \(they are of shape \(0, 25, 5\)\)",
    "features are words": "train.npz: features are <U",
    "features NaN": "val/features/plain: NaN or infinity in",
    "features infinite": "test/features/plain: NaN or infinity in",
    "dimension": r"test/features/plain has shape \(12, 3\), expected \(12, 5\)",
    "empty": r"train.npz: labels have shape \(0,\)",
    "rows too few": r"train.npz: rows have shape \(3,\)",
    "rows are floats": "train.npz: rows are float64, expected integers",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_arrays_that_make_no_cache(cli, data, home, tmp_path, what):
    refuse(cli, line(tmp_path, broken(data, what)), MESSAGES[what], home)


def refuse(cli, words, message, home):
    done = cli(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert re.search(message, done.err), done.err
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".parquet", ".pt"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "other"])
def test_files_that_cannot_be_read(cli, data, home, tmp_path, suffix, damage):
    words = line(tmp_path, data, suffix)
    path = tmp_path / f"train{suffix}"
    path.write_bytes(
        {"truncated": path.read_bytes()[: path.stat().st_size // 2], "empty": b"", "other": b"these are no arrays" * 10}[damage]
    )
    refuse(cli, words, rf"train\{suffix}: cannot be read", home)


def test_pickles_are_not_opened(cli, data, home, tmp_path):
    words = line(tmp_path, data)
    np.savez(tmp_path / "train.npz", features=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, dtype=int))
    refuse(cli, words, r"train\.npz: cannot be read \(.*an array of Python objects, which are not read", home)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": "a/b"}, "no slashes"),
        ({"name": "../up"}, "no slashes"),
        ({"name": ".hidden"}, "no leading dot"),
        ({"head": "nowhere.npz"}, "nowhere.npz: no such file"),
        ({"class_names": "nowhere.txt"}, "nowhere.txt: no such file"),
        ({"class_names": "one.txt"}, r"1 names, and the labels \(or the head\) are of 4 classes"),
        ({"val_fraction": 0.2}, "--val-fraction is for training rows without --val"),
        ({"dataset": "cifar_100"}, "cifar_100"),
    ],
)
def test_options_that_do_not_fit(cli, data, home, tmp_path, more, message):
    (tmp_path / "one.txt").write_text("ant\n")
    refuse(cli, line(tmp_path, data, **more), message, home)


def test_other_files_and_heads(cli, data, home, tmp_path):
    (tmp_path / "train.csv").write_text("1,2\n")
    words = line(tmp_path, data)
    refuse(
        cli,
        [*words, "--head", str(tmp_path / "train.csv")],
        r"train\.csv: expected \.npz, \.npy, \.pt, \.pth, \.safetensors or \.parquet, with",
        home,
    )
    np.savez(tmp_path / "no-weight.npz", bias=np.zeros(K))
    refuse(cli, [*words, "--head", str(tmp_path / "no-weight.npz")], "no array `weight`; it has bias", home)
    np.savez(tmp_path / "nan.npz", weight=np.full((K, D), np.nan))
    refuse(cli, [*words, "--head", str(tmp_path / "nan.npz")], "head/weight holds NaN or infinity", home)
    np.save(tmp_path / "alone.npy", data["train"]["features"])
    refuse(
        cli,
        [str(tmp_path / "alone.npy") if word.endswith("train.npz") else word for word in words],
        r"alone\.npy: a \.npy holds one array, here the features; give the labels with --train-labels FILE",
        home,
    )


def test_a_name_that_is_taken(cli, data, home, tmp_path):
    assert cli(*line(tmp_path, data)).code == 0
    done = cli(*line(tmp_path, data))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "caches/mine: exists already" in done.err
