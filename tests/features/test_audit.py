"""Features that would give wrong numbers are refused or said, and each option mends what it is named for."""

import json
import re

import numpy as np
import pytest
import torch

import lt_bench as lt
from lt_bench.core.errors import UserError
from lt_bench.deploy.classifier import load_classifier
from lt_bench.features import moments as moments_module
from lt_bench.features.cache import open_cache
from lt_bench.features.moments import moments

K, D = 6, 12
COUNTS = (60, 34, 19, 11, 6, 4)
MEANS = np.random.default_rng(0).normal(size=(K, D))


def drawn(counts, seed):
    labels = np.repeat(np.arange(K), counts)
    return (MEANS[labels] + np.random.default_rng(seed).normal(size=(labels.size, D))).astype(np.float32), labels


SPLITS = {"train": drawn(COUNTS, 1), "val": drawn([6] * K, 2), "test": drawn([40] * K, 3)}
SPREAD = SPLITS["train"][0].std(0)


def cache(change=lambda x: x, number=lambda y: y, **options):
    (X, y), val, test = ((change(features), number(labels)) for features, labels in SPLITS.values())
    return lt.Cache.from_arrays(X, y, val=val, test=test, **options)


def accuracy(strategy, of):
    short = {"epochs": 30} if strategy == "balanced_softmax" else {}
    return lt.fit(strategy, of, **short)[0].metrics["test"]["accuracy"]


def moved(offset):
    return lambda x: (0.09 * x / SPREAD + offset).astype(np.float32)


@pytest.mark.parametrize("change", [moved(10), moved(100), moved(3000), lambda x: x * np.float32(1e-8)])
@pytest.mark.filterwarnings("ignore:.*(offset|long on average):UserWarning")
def test_a_type_that_loses_the_features_is_refused_with_what_mends_it(change):
    with pytest.raises(
        UserError, match=r"float16 changes 12 of 12 dimensions .* dtype=\"float32\" or standardise them with standardise=True"
    ):
        cache(change, dtype="float16", head=None)
    plain = accuracy("ncm", cache(dtype="float32", head=None))
    assert abs(accuracy("ncm", cache(change, dtype="float32", head=None)) - plain) <= 0.03  # another scale is another problem, but no noise
    exact = cache(change, dtype="float32", head=None, standardise=True)
    stored = cache(change, dtype="float16", head=None, standardise=True)
    for strategy in ("ncm", "balanced_softmax"):
        assert abs(accuracy(strategy, stored) - accuracy(strategy, exact)) <= 0.003


def test_a_type_that_keeps_the_features_keeps_the_numbers():
    exact = cache(dtype="float32")
    for dtype, most in (("float16", 5e-4), ("affine8", 0.015)):
        stored = cache(dtype=dtype)
        assert 0 < stored.manifest.audit["precision"]["largest_error"] < most
        for strategy in ("ncm", "logit_adjustment"):
            assert abs(accuracy(strategy, stored) - accuracy(strategy, exact)) <= 0.005  # one of the 240 test rows


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_outlier_spoils_eight_bits(split):
    def far(x):
        x = x.copy()
        x[0] += 1000 * (len(x) == len(SPLITS[split][1]))
        return x

    with pytest.raises(UserError, match=rf"{split}/features/plain: affine8 changes 12 of 12 dimensions by more than 5%"):
        cache(far, dtype="affine8", head=None)


def test_a_wide_dimension_hides_no_narrow_one():
    narrow = np.array([1.0] * (D - 1) + [1e-4]), np.array([0.0] * (D - 1) + [5.0])
    with pytest.raises(UserError, match=r"float16 changes 1 of 12 dimensions .*\(dimension 11 by"):
        cache(lambda x: (x * narrow[0] + narrow[1]).astype(np.float32), dtype="float16", head=None)
    constant = np.array([1.0] * (D - 1) + [0.0])
    assert cache(lambda x: (x * constant + 5).astype(np.float32), head=None).manifest.audit["scale"]["constant_dimensions"] == 1
    with pytest.raises(UserError, match="every row is the same"):
        cache(np.zeros_like, head=None)


SCALES = {
    "every training row has length 1": lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
    r"training rows are [34].*e\+04 long on average": lambda x: x * np.float32(1e4),
    "share an offset 1,1.. times as long as their spread": moved(100),
    "the widest dimension has 9?.*times the spread of the median": lambda x: x * np.array([1000] + [1] * (D - 1), np.float32),
}


@pytest.mark.parametrize("note", SCALES)
@pytest.mark.filterwarnings("ignore:.*(--standardise):UserWarning", "ignore:the stage-1 head:UserWarning")
def test_an_unusual_scale_is_noticed_and_standardising_gives_the_accuracy_of_the_usual_one(note):
    assert cache(head=None).manifest.audit["notes"] == []
    strange = cache(SCALES[note], head=None)
    assert any(re.search(note, line) and "--standardise" in line for line in strange.manifest.audit["notes"]), strange.manifest.audit[
        "notes"
    ]
    mended, usual = cache(SCALES[note], head=None, standardise=True), cache(head=None, standardise=True)
    assert mended.manifest.audit["notes"] == []
    assert mended.key != strange.key
    for strategy in ("balanced_softmax", "ncm"):
        lost = 0.04 if "length 1" in note else 0.01  # where the lengths of rows are lost 9 of 240 test images may differ, else 2
        assert abs(accuracy(strategy, mended) - accuracy(strategy, usual)) <= lost


def test_standardised_features_have_mean_0_and_spread_1_and_a_head_keeps_its_logits():
    weight, bias = np.random.default_rng(5).normal(size=(K, D)).astype(np.float32), np.arange(K, dtype=np.float32)
    plain, mended = cache(moved(3), head=(weight, bias)), cache(moved(3), head=(weight, bias), standardise=True)
    X = mended.split("train").view("plain").double()
    assert torch.allclose(X.mean(0), torch.zeros(D, dtype=X.dtype), atol=1e-6)
    assert torch.allclose(X.std(0, correction=0), torch.ones(D, dtype=X.dtype), atol=1e-5)
    joint, raw = lt.fit("joint", mended)[0], moved(3)(SPLITS["test"][0])
    assert joint.metrics["test"]["accuracy"] == lt.fit("joint", plain)[0].metrics["test"]["accuracy"]
    assert np.allclose(joint.logits(raw), raw @ weight.T + bias, atol=1e-4)
    assert lt.evaluate(joint, plain)["accuracy"] == lt.evaluate(joint, mended)["accuracy"] == joint.metrics["test"]["accuracy"]
    with pytest.raises(UserError, match="standardised by other rows"):
        lt.evaluate(lt.fit("joint", plain)[0], mended)


@pytest.mark.filterwarnings("ignore:the stage-1 head:UserWarning")
def test_python_names_arguments_and_shows_a_cache_in_a_line():
    with pytest.warns(UserWarning, match=r"ordinary length: standardise=True, or other rates"):
        short = cache(lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), head=None)
    with pytest.warns(UserWarning, match=r"none: 0; relabel=True numbers .* drop_empty=True leaves out"):
        cache(number=lambda y: y + 1, head=None)
    assert re.fullmatch(rf"Cache\('arrays', 134 x 12, K = 6, key {short.key}, '.*'\)", repr(short))


def test_an_export_of_standardised_features_takes_raw_ones(cli, tmp_path, monkeypatch):
    def call(*words):
        return cli(*map(str, words))

    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    words = write(tmp_path, moved(100))
    assert call(*words, "--standardise", "true").code == 0
    assert call("run", "--strategy", "balanced_softmax", "--strategy.epochs", "5", "--cache", "mine").code == 0
    (record,) = (tmp_path / "results").glob("*/*.json")
    assert call("export", "--record", record, "--head-only", "--out", tmp_path / "export").code == 0
    done = call("predict", tmp_path / "export", tmp_path / "test.npz", "--out", tmp_path / "predictions.csv")
    assert done.code == 0, done.err
    predicted = np.loadtxt(tmp_path / "predictions.csv", delimiter=",", skiprows=1, usecols=1, dtype=int)
    recorded = json.loads(record.read_text())["metrics"]["test"]["accuracy"]
    assert (predicted == SPLITS["test"][1]).mean() == pytest.approx(recorded)
    raw = torch.from_numpy(moved(100)(SPLITS["test"][0]))
    assert load_classifier(tmp_path / "export")(raw).argmax(1).tolist() == predicted.tolist()


def write(folder, change=lambda x: x, number=lambda y: y, **more):
    words = ["import-features", "--name", "mine"]
    for split, (features, labels) in SPLITS.items():
        np.savez(folder / f"{split}.npz", features=change(features), labels=number(labels), **more.get(split, {}))
        words += [f"--{split}", folder / f"{split}.npz"]
    return [str(word) for word in words]


@pytest.mark.parametrize(
    ("number", "K_", "first"), [(lambda y: y + 1, 7, "0"), (lambda y: 5 * y + 30_000, 30_026, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...")]
)
def test_classes_without_rows_are_said_and_relabelled_away(cli, tmp_path, monkeypatch, number, K_, first):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    done = cli(*write(tmp_path, number=number), "--out", str(tmp_path / "gaps"))
    assert f"K = {K_:,} classes, 6 of which have training rows; none: {first}; --relabel" in done.out, done.err
    document = json.loads(cli(*write(tmp_path, number=number), "--out", str(tmp_path / "mended"), "--relabel", "true", "--json").out)
    assert document["audit"]["classes"]["number"] == document["audit"]["classes"]["with_training_rows"] == K
    mended = open_cache(tmp_path / "mended")
    assert mended.manifest.dataset.class_names == tuple(str(k) for k in number(np.arange(K)))
    assert mended.split("test").labels.tolist() == SPLITS["test"][1].tolist()
    assert mended.manifest.audit == document["audit"]
    assert accuracy("ncm", lt.open_cache(mended.path)) == accuracy("ncm", cache(dtype="float16", head=None))


def test_dropped_classes_take_their_rows_names_and_head_rows_along():
    def without_4(y):
        return np.where((y == 4) & (len(y) == sum(COUNTS)), 5, y)

    weight = np.random.default_rng(0).normal(size=(K, D)).astype(np.float32)
    names = tuple("abcdef")
    with pytest.warns(UserWarning, match="K = 6 classes, 5 of which have training rows; none: 4") as said:
        kept = cache(number=without_4, head=(weight, np.arange(6.0)), class_names=names)
    assert any("40 rows of test of classes without training rows" in str(one.message) for one in said)
    dropped = cache(number=without_4, head=(weight, np.arange(6.0)), class_names=names, drop_empty=True)
    assert (kept.manifest.dataset.num_classes, dropped.manifest.dataset.class_names) == (6, tuple("abcdf"))
    assert dropped.manifest.audit["left_out"] == {"val": 6, "test": 40}
    rest = SPLITS["test"][1] != 4
    assert dropped.split("test").labels.tolist() == np.minimum(SPLITS["test"][1][rest], 4).tolist()
    assert np.array_equal(dropped.split("test").view("plain").numpy(), SPLITS["test"][0][rest])
    head = dropped.head()
    assert head is not None
    assert torch.equal(head.weight, torch.from_numpy(weight[[0, 1, 2, 3, 5]]))
    assert head.bias.tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_in_several_splits_are_counted_and_named(dtype: type):
    (X, y), (V, v), (T, t) = SPLITS.values()
    T, V, X, t = T.copy(), V.copy(), X.copy(), t.copy()
    t[8] = (y[51] + 1) % 6
    T[7:10], V[0], X[3], T[20] = X[50:53], X[60], X[4], V[5]
    X = X.astype(dtype) * (1 + 1e-12)  # digits of double precision beyond float32 are no difference
    with pytest.warns(UserWarning, match="OVERLAP") as said:
        noticed = lt.Cache.from_arrays(X, y, val=(V, v), test=(T, t), head=None).manifest.audit
    assert noticed["repeated_rows"] == {"train": 1, "val": 0, "test": 0, "test in val": 1, "test in train": 3, "val in train": 1}
    assert {*noticed["notes"]} <= {str(one.message) for one in said}
    assert noticed["repeated_with_another_label"]["test in train"] == 1
    assert noticed["notes"][0] == (
        "OVERLAP: 3 of 240 test rows are also training rows, 1 of them with another label (is one wrong?); what is measured there was trained on "
        f"(the first: test row 8, labelled {t[8]}, is training row 51, labelled {y[51]}; test row 7 is training row 50; test row 9 is training row 52)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class\na\nb\nc\nd\ne\nf\n", r"7 names, .* of 6 classes; .* the first, 'class', looks like a header: remove it"),
        ("a\nb\nc\nd\ne\nb\n", r"names.txt: line 6 repeats line 2: 'b'"),
        ("a\nb\nc\nd\n", "4 names, and the labels .* are of 6 classes"),
    ],
)
def test_class_names_are_one_a_class(cli, tmp_path, monkeypatch, text, message):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "names.txt").write_text(text)
    done = cli(*write(tmp_path), "--class-names", str(tmp_path / "names.txt"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert re.search(message, done.err), done.err
    (tmp_path / "names.txt").write_bytes("\ufeffa\r\nb\r\n\r\nc\r\nd e\r\ne\r\nñ\u2028\r\n".encode())
    assert cli(*write(tmp_path), "--class-names", str(tmp_path / "names.txt")).code == 0
    assert open_cache(tmp_path / "home" / "caches" / "mine").manifest.dataset.class_names == ("a", "b", "c", "d e", "e", "ñ")


def test_labels_are_the_array_of_that_name_or_the_only_one(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    words, labels = write(tmp_path), SPLITS["train"][1]
    for name, arrays in {
        "first": {"image_id": labels[::-1], "labels": labels},
        "only": {"y": labels},
        "none": {"image_id": labels, "y": labels},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    for name in ("first", "only"):
        done = cli(*words, "--out", str(tmp_path / name), "--train-labels", str(tmp_path / f"{name}.npz"))
        assert done.code == 0, done.err
        assert open_cache(tmp_path / name).split("train").labels.tolist() == labels.tolist()
    done = cli(*words, "--train-labels", str(tmp_path / "none.npz"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "none.npz: which array are the labels? it has image_id, y" in done.err


@pytest.mark.parametrize("kind", [">f4", ">f8", "longdouble", "f2"])
def test_numbers_of_any_kind_are_the_same_numbers(kind):
    usual = cache(lambda x: x.astype(np.float16).astype(np.float32), head=None)
    other = cache(lambda x: x.astype(np.float16).astype(kind), lambda y: y.astype(">i2"), head=None)
    assert torch.equal(other.split("test").view("plain"), usual.split("test").view("plain"))
    for bad, message in ((np.complex64, "features are complex64"), (object, "features are object")):
        with pytest.raises(UserError, match=message):
            cache(lambda x, bad=bad: x.astype(bad), head=None)


def test_chunks_change_nothing(monkeypatch):
    X = torch.from_numpy(moved(3000)(SPLITS["train"][0]))
    whole = moments(X)
    before = cache(dtype="affine8", head=None, standardise=True)
    monkeypatch.setattr(moments_module, "CHUNK", 5 * D)
    assert torch.allclose(moments(X).deviation, whole.deviation, rtol=1e-12)
    assert torch.allclose(whole.deviation, X.double().std(0, correction=0), rtol=1e-9)
    assert torch.allclose(whole.mean, X.double().mean(0), rtol=1e-12)
    after = cache(dtype="affine8", head=None, standardise=True)
    assert (after.split("train").view("plain") - before.split("train").view("plain")).abs().max() < 1e-3
