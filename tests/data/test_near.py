"""Near-identical images across splits."""

import numpy as np
import pytest
from photos import photo
from PIL import Image

from lt_bench.data.check import check_dataset
from lt_bench.data.load import load_images
from lt_bench.data.near import near_images, near_rows

CLASSES = "abc"


def frames(seed, number):
    """Frames of one track: one picture, a little brighter, larger and noisier each time."""
    picture = np.asarray(photo(seed, (40, 40))).astype(float)
    for i in range(number):
        noise = np.random.default_rng(1000 * seed + i).normal(0, 4, picture.shape)
        pixels = np.clip(picture * (1 + 0.02 * i) + noise, 0, 255).astype(np.uint8)
        yield Image.fromarray(pixels).resize((40 + 3 * i, 40 + 3 * i))


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """60 tracks of 4 frames in 3 classes."""
    root = tmp_path_factory.mktemp("tracks")
    for track in range(60):
        folder = root / CLASSES[track % 3]
        folder.mkdir(exist_ok=True)
        for i, image in enumerate(frames(track, 4)):
            image.save(folder / f"{track:03}_{i}.jpg")
    return root


def test_frames_of_a_track_on_both_sides_are_named(tracks):
    data = load_images("folder", tracks)
    near = near_images(data)
    track_of = {split: np.array([path[2:5] for path in images.paths]) for split, images in data.splits.items()}
    expected = {split: int(np.isin(track_of[split], track_of["train"]).sum()) for split in ("val", "test")}
    assert expected["test"] > 20
    assert near.compared == {split: len(images) for split, images in data.splits.items()}
    for split, count in expected.items():
        assert count - 2 <= near.images[split] <= count
    assert all(one.split("/")[-1][:3] == other.split("/")[-1][:3] for _, one, other in near.first)
    lines = near.lines()
    assert f"{near.images['test']:,} of {len(data.splits['test']):,} test images have one in train" in "\n".join(lines)
    assert "--group-pattern" in lines[-1]


def test_a_split_by_track_has_none(tracks):
    near = near_images(load_images("folder", tracks, group_pattern=r"/(\d+)_"))
    assert near.images == {"val": 0, "test": 0}
    assert near.lines() == []
    assert not near.grouped


def test_data_check_says_so(tracks):
    said = []
    check_dataset("folder", tracks, lambda line: said.append(str(line)))
    assert sum("near-identical images" in line for line in said) == 2
    assert any("by group with --group-column or --group-pattern" in line for line in said)
    said.clear()
    check_dataset("folder", tracks, lambda line: said.append(str(line)), group_pattern=r"/(\d+)_")
    assert "near-identical images: no test or validation image has one in train" in said
    assert r"'/(\d+)_'" in said[-1]  # the next command has the pattern


def test_near_rows_against_a_plain_search(monkeypatch):
    generator = np.random.default_rng(0)
    train = generator.normal(size=(300, 20)).astype(np.float32)
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    held = np.concatenate([train[[5, 70, 299]] + generator.normal(0, 0.02, (3, 20)), generator.normal(size=(40, 20))])
    held[10] = np.nan
    train[7] = np.nan
    monkeypatch.setattr("lt_bench.data.near._CHUNK", 1000)
    rows, nearest = near_rows(held, train)
    assert rows.tolist() == [0, 1, 2]
    assert nearest.tolist() == [5, 70, 299]


def test_what_is_close_is_measured_by_the_data_set():
    """Rows that all lie close together are not near for that."""
    generator = np.random.default_rng(0)
    cloud = 1 + 0.01 * generator.normal(size=(400, 30))
    assert len(near_rows(cloud[:100], cloud[100:])[0]) == 0
    assert near_rows(cloud[100:103], cloud[100:])[1].tolist() == [0, 1, 2]
    assert len(near_rows(cloud[:5], cloud[:0])[0]) == 0


@pytest.mark.parametrize(
    ("scaled", "of_test"), [(lambda x: x, 0), (lambda x: 4 * x, 1), (lambda x: (x - 128) * 4, 1), (lambda x: np.where(x > 128, 255, x), 0)]
)
def test_images_that_a_wrong_scale_clipped_are_counted_and_named(tmp_path, scaled, of_test):
    """A white background is none."""
    for split, change in (("train", lambda x: x), ("test", scaled)):
        for track in range(12):
            picture = np.asarray(photo(track, (40, 40))).astype(float)
            picture = 5 + 200 * ((picture - picture.min()) / (picture.max() - picture.min())) ** 2
            pixels = np.clip(change(picture), 0, 255).astype(np.uint8)
            if not of_test:
                pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:] = (255,) * 4
            (tmp_path / split / CLASSES[track % 3]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / split / CLASSES[track % 3] / f"{track}.png")
    near = near_images(load_images("folder", tmp_path))
    assert near.clipped["train"] == near.record()["clipped_images"]["train"] == 0
    assert (near.clipped["test"] > 6) == bool(of_test)
    told = [line for line in near.lines() if "black or white in a channel" in line]
    assert len(told) == of_test
    assert not told or told[0].startswith(f"{near.clipped['test']} of 12 test images")
    assert not told or f"test: {tmp_path}/test/a/0.png" in near.lines()[-3]
