"""``lt-bench report``: one row class by class, against figures counted by hand from the stored predictions."""

from __future__ import annotations

import csv
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from photos import photo, write_photos
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import stats

import lt_bench as lt
from benchmarks import picture
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.cli.report import SIGNS
from lt_bench.core.files import require_ours
from lt_bench.leaderboard.report import picture as confusions
from lt_bench.leaderboard.report.picture import _with_few_colours, draw_confusions
from lt_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("light_resnet20")

K = 12
NAMES = ["<img src=x onerror=alert(1)>", "=HYPERLINK(1)", *(f"species {k}" for k in range(2, K))]
COUNTS = np.array([60, 50, 40, 30, 20, 15, 12, 9, 7, 5, 4, 3])


def draw(counts, seed):
    means, rng = np.random.default_rng(0).normal(size=(K, 8)), np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts)
    return means[labels] + 1.5 * rng.normal(size=(len(labels), 8)), labels


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "results"
    X, y = draw(COUNTS, 1)
    test = draw(np.array([20, *COUNTS[1:-1] // 3, 0]), 2)  # the last class has no test images
    cache = lt.Cache.from_arrays(X, y, test=test, class_names=NAMES, name="ponds")
    for seeds, strategy in ((range(2), "crt"), ([0], "ncm")):
        lt.fit(strategy, cache, seeds=seeds, results=folder, accelerator="cpu", **({"epochs": 2} if strategy == "crt" else {}))
    return Store(folder)


def numbered(number):
    """A note in a picture's file, so that files of equal pixels differ."""
    note = PngInfo()
    note.add_text("number", str(number))
    return note


def listed(place):
    """The lines of the list of images of the one cache there."""
    (images,) = place.glob("home/caches/*/images.csv")
    return images.read_text().splitlines()


def written(cli, store, folder, *line):
    done = cli("report", "--results", str(store.directory), "--out", str(folder), *line, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_figures_are_those_of_the_predictions(cli, store, tmp_path):
    found = written(cli, store, tmp_path / "out", "--strategy", "crt", "--strategy.epochs", "2")
    require_ours({tmp_path / "out" / name: sign for name, sign in SIGNS.items()})  # the next report may replace them
    arrays = [store.arrays(record) for record in store.records() if record.identity.strategy == "crt"]
    labels = arrays[0]["test_labels"]
    predicted = np.stack([one["test_predictions"] for one in arrays])
    assert (len(predicted), found["seeds"], [one["name"] for one in found["classes"]]) == (2, [0, 1], NAMES)
    for k, one in enumerate(found["classes"][:-1]):
        right, taken, test = ((predicted == k) & (labels == k)).sum() / 2, (predicted == k).sum() / 2, (labels == k).sum()
        assert (one["train"], one["test"]) == (COUNTS[k], test)
        assert one["recall"] == pytest.approx(right / test)
        assert one["precision"] == (pytest.approx(right / taken) if taken else None)
        assert one["f1"] == pytest.approx(2 * right / (test + taken))
        if right == int(right):
            wanted = stats.binomtest(int(right), int(test)).proportion_ci(0.95, "exact")
            assert (one["low"], one["high"]) == pytest.approx((wanted.low, wanted.high))
        others = sorted((-(predicted[:, labels == k] == j).sum() / 2, j) for j in range(K) if j != k)[:3]
        assert one["taken_for"] == [{"name": NAMES[j], "images": -images} for images, j in others if images]
    untested = found["classes"][-1]
    assert (untested["test"], untested["recall"], untested["low"]) == (0, None, None)
    assert found["objective"]["name"] == "macro"
    low, high = found["objective"]["interval"]
    assert low < found["objective"]["value"] < high
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "classes.csv").read_text())))
    assert [float(line["recall"] or "nan") for line in lines] == pytest.approx(
        [100 * (np.nan if one["recall"] is None else one["recall"]) for one in found["classes"]], rel=1e-5, nan_ok=True
    )
    pairs = csv.DictReader(io.StringIO((tmp_path / "out" / "confusions.csv").read_text()))
    assert sum(float(line["images"]) for line in pairs) == len(labels)


def test_a_file_that_is_none_of_a_report_is_not_replaced(cli, store, tmp_path):
    line = ("report", "--results", str(store.directory), "--strategy", "ncm", "--out", str(tmp_path))
    for name in ("classes.csv", "confusions.png"):
        (tmp_path / name).write_text("of the user")
        done = cli(*line)
        assert (done.code, f"{tmp_path / name}: " in done.err, done.err.count("\n")) == (2, True, 1), done.err
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_names_are_escaped_and_nothing_is_fetched(cli, store, tmp_path):
    written(cli, store, tmp_path, "--strategy", "ncm")
    html = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "<img src=x" not in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "imported features: there are no images" in html
    assert "'=HYPERLINK(1)" in (tmp_path / "classes.csv").read_text()
    assert Image.open(tmp_path / "confusions.png").width > 400


def test_the_terminal_shows_the_worst_first_in_80_columns(cli, store, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    record = next(record for record in store.records() if record.identity.strategy == "ncm")
    done = cli("report", str(store.path(record)), "--out", str(tmp_path / "out"))
    assert done.code == 0, done.err
    table = done.out.partition("wrote ")[0]
    assert "test images in" in table
    shown = [int(found[1]) for found in re.finditer(r" (\d+) \(\d+-\d+\) ", table)]
    assert shown == sorted(shown)
    assert len(shown) == 11
    assert "1 class has no test images" in " ".join(table.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((), "report needs the JSON files of records of one row"),
        (("nowhere.json",), "nowhere.json: no such file"),
        (("--strategy", "los"), "no such record of los; there are crt"),
        (("--strategy", "crt", "--strategy.epochs", "3"), "no such record of crt"),
    ],
)
def test_what_fits_no_row_is_one_line(cli, store, tmp_path, line, said):
    done = cli("report", "--results", str(store.directory), "--out", str(tmp_path / "out"), *line)
    assert (done.code, said in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (tmp_path / "out").exists()


def test_records_of_two_rows_are_refused(cli, store, tmp_path):
    done = cli("report", *map(str, store.paths()), "--out", str(tmp_path / "out"))
    assert (done.code, "2 rows fit, and a report is of one: " in done.err) == (2, True)


def test_images_of_the_worst_classes_stand_in_the_page(cli, tmp_path, monkeypatch):
    """Own images, some of which are broken: those of another folder are refused."""
    photos = write_photos(tmp_path / "photos", {"ant": 40, "bee": 20, "cat": 20})
    for number in range(12):
        (photos / "ant" / f"{number}.jpg").write_bytes(bytes([number]))
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 3).eval(), tmp_path / "w.safetensors")
    own = ("--dataset", "folder", "--data-dir", str(photos), "--backbone", "resnet20", "--weights", str(tmp_path / "w.safetensors"))
    ran = cli("run", "--strategy", "ncm", *own, "--skip-broken", "--accelerator", "cpu")
    assert ran.code == 0, ran.err
    done = cli("report", "--strategy", "ncm", "--data-dir", str(photos), "--json")
    assert done.code == 0, done.err
    wrong = sum(round(one["test"] * (1 - one["recall"])) for one in json.loads(done.out)["classes"])
    html = (tmp_path / "report" / "report.html").read_text()
    assert html.count("data:image/jpeg;base64,") == wrong > 0
    assert cli("report", "--strategy", "ncm").code == 0
    assert "name where they are with --data-dir" in (tmp_path / "report" / "report.html").read_text()
    write_photos(tmp_path / "others", {"ant": 41, "bee": 20, "cat": 20})
    done = cli("report", "--strategy", "ncm", "--data-dir", str(tmp_path / "others"))
    assert (done.code, "its test images are not those of the record" in done.err) == (2, True), done.err


def test_intervals_are_over_the_groups_that_images_come_in(cli, tmp_path, monkeypatch):
    """Frames of tracks: as the record says, by a pattern, and where neither record nor list says the groups."""
    drawn = []
    monkeypatch.setattr(
        confusions, "draw_confusions", lambda *asked: drawn or drawn.extend(draw_confusions(*asked)) or drawn
    )  # one picture is enough here
    photos = tmp_path / "photos"
    for c, name in enumerate(("ant", "bee", "cat")):
        for track in range(30):
            (photos / name).mkdir(parents=True, exist_ok=True)
            for frame in range(4):
                photo(100 * c + track).save(photos / name / f"{track}_{frame}.png", pnginfo=numbered(frame))
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 3).eval(), tmp_path / "w.safetensors")
    own = ("--dataset", "folder", "--data-dir", str(photos), "--backbone", "resnet20", "--weights", str(tmp_path / "w.safetensors"))
    ran = cli("run", "--strategy", "ncm", *own, "--group-pattern", r"(.+)_", "--accelerator", "cpu")
    assert ran.code == 0, ran.err

    def reported(*words, results="results"):
        done = cli("report", "--strategy", "ncm", "--out", "out", "--results", results, *words, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def told(results="results"):
        return cli("report", "--strategy", "ncm", "--out", "out", "--results", results).out

    def width(of):
        ends = [of["objective"]["interval"], *of["groups"].values(), *((one["low"], one["high"]) for one in of["classes"])]
        return np.array([high - low for low, high in ends])

    by_track, said = reported(), told()
    assert by_track["intervals_over"] == "test groups"
    assert "(95 %, over test groups)" in said
    assert "take groups as the sample" in " ".join(said.split())
    groups = len({line.partition("_")[0].split(",")[-1] for line in listed(tmp_path) if line.startswith("test,")})
    board = cli("leaderboard", "--out", "board", "--formats", "csv,markdown")
    assert "Split by groups" not in board.out
    (written,) = (tmp_path / "board").glob("*.md")
    assert f"(95 %, over {groups} groups of test images" in written.read_text()
    (line,) = json.loads(cli("leaderboard", "--out", "board", "--formats", "csv", "--json").out)["rows"]
    assert [float(end) for end in line["over_images"].split(" to ")] == pytest.approx(
        [100 * end for end in by_track["objective"]["interval"]], abs=0.01
    )
    assert f" of {groups} groups in 3 classes" in " ".join(said.split())
    (images,) = tmp_path.glob("home/caches/*/images.csv")
    rows = [line.rsplit(",", 1)[0] for line in listed(tmp_path)]
    images.write_text("\n".join(rows) + "\n")  # as an earlier version wrote it
    assert reported() == by_track
    ran = cli("run", "--strategy", "ncm", "--cache", str(images.parent), "--results", "earlier", "--accelerator", "cpu")
    assert ran.code == 0, ran.err
    board = cli("leaderboard", "--results", "earlier", "--out", "board", "--formats", "csv").out
    assert re.search(r"Split by groups, which no record says: folder-photos-\w+-resnet20\. Images of one group are alike", board)
    alone, said = reported(results="earlier"), told("earlier")
    assert alone["intervals_over"] == "test images"
    assert "intervals are too narrow; to have groups as the sample, say `--group-pattern" in " ".join(said.split())
    assert (width(by_track) > width(alone) + 0.01).all()
    named = reported("--group-pattern", r"(.+)_", results="earlier")
    assert (named["intervals_over"], width(named)) == ("test groups", pytest.approx(width(by_track)))
    images.parent.rename(tmp_path / "away")
    assert "Split by groups" not in cli("leaderboard", "--results", "earlier", "--out", "board", "--formats", "csv").out
    assert reported() == by_track
    gone, said = reported(results="earlier"), told("earlier")
    assert "it is not known whether the test images come in groups" in gone["groups_unknown"]
    assert gone["groups_unknown"] in " ".join(said.split())
    assert width(gone) == pytest.approx(width(alone))
    done = cli("report", "--strategy", "ncm", "--group-pattern", "(a)")
    assert (done.code, "lists, which is not here" in done.err, done.err.count("\n")) == (2, True, 1), done.err


@pytest.mark.slow
@pytest.mark.skipif(picture.PROGRAM is None, reason="no chromium, chromium-browser or google-chrome on the path: apt-get install chromium")
def test_the_page_fits_a_desk_and_a_phone_and_asks_for_nothing(cli, store, tmp_path):
    written(cli, store, tmp_path, "--strategy", "ncm")
    with picture.chromium() as browser:
        for width in (1440, 390):
            said = []
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("request", lambda asked, said=said: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url))
            page.goto((tmp_path / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.locator("tbody tr").count() == K
            assert page.locator("td", has_text=NAMES[0]).count() > 0
            assert page.evaluate("document.querySelector('.confusions img').naturalWidth") > 300
            assert said == []


def test_a_palette_keeps_the_shades(tmp_path):
    shades = np.broadcast_to(np.linspace(0, 255, 240).astype(np.uint8)[None, :, None], (60, 240, 3)) // [1, 2, 1]
    Image.fromarray(shades.astype(np.uint8)).save(tmp_path / "p.png")
    _with_few_colours(tmp_path / "p.png")
    few = Image.open(tmp_path / "p.png")
    assert few.mode == "P"
    assert np.abs(np.asarray(few.convert("RGB")).astype(int) - shades).max() <= 3


@pytest.mark.slow
def test_the_picture_of_many_classes_is_small_and_names_can_be_read(tmp_path):
    rng, K = np.random.default_rng(0), 121
    confusions = {(k, int(j)): 1.0 + (j == k) * 9 for k in range(K) for j in {k, *rng.integers(0, K, 4)}}
    names = [f"class of plankton {k}" for k in range(K)]
    classes = [SimpleNamespace(number=k, name=names[k], test=sum(n for (a, _), n in confusions.items() if a == k)) for k in range(K)]
    draw_confusions(SimpleNamespace(classes=classes, confusions=confusions), tmp_path / "c")  # pyright: ignore[reportArgumentType]
    assert (tmp_path / "c.png").stat().st_size < 400_000
    assert Image.open(tmp_path / "c.png").height > 1700
