import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureSplit, open_cache, require
from lt_bench.features.manifest import manifest_of
from lt_bench.features.write import digest


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, make_cache):
    return make_cache(tmp_path_factory.mktemp("pristine") / "cache")


@pytest.fixture
def copy(pristine, tmp_path):
    """A cache to damage."""
    return shutil.copytree(pristine, tmp_path / "cache")


def read_everything(directory):
    cache = open_cache(directory)
    for split in cache.manifest.views:
        cache.split(split)
    cache.head()


def test_mapped_is_loaded(pristine):
    cache = open_cache(pristine)
    loaded, mapped = cache.split("train"), cache.split("train", mapped=True)
    assert (len(loaded.blocks), len(mapped.blocks)) == (1, 3)
    index = torch.randint(3 * len(loaded), (2, 5), generator=torch.Generator().manual_seed(0))
    assert mapped.gather(index).shape == (2, 5, 8)
    assert torch.equal(loaded.gather(index), mapped.gather(index))
    for view in loaded.views:
        assert torch.equal(loaded.view(view), mapped.view(view))
    assert mapped.view("aug1").data_ptr() == mapped.blocks[1].data_ptr()  # nothing is copied
    assert loaded.resident
    assert mapped.resident
    assert cache.bytes_of("train") == loaded.blocks[0].nbytes


def test_what_is_mapped_can_be_streamed_to_a_device(pristine):
    streamed = open_cache(pristine).split("train", mapped=True, device="meta")
    assert (streamed.device.type, streamed.blocks[0].device.type, streamed.resident) == ("meta", "cpu", False)
    assert streamed.view("plain").device.type == "meta"
    assert streamed.labels.device.type == "meta"


def test_gather_finds_view_and_row(pristine, arrays):
    split = open_cache(pristine).split("train")
    n = len(split)
    index = torch.tensor([[0, n], [2 * n + 4, 3 * n - 1]])
    given = arrays()
    expected = [
        given["train/features/plain"][0],
        given["train/features/aug1"][0],
        given["train/features/aug2"][4],
        given["train/features/aug2"][-1],
    ]
    assert torch.equal(split.gather(index), torch.stack(expected).view(2, 2, 8))


def test_gather_over_uneven_parts():
    features = torch.arange(14.0).view(7, 2)
    split = FeatureSplit(
        "train", ("plain",), (features[:3], features[3:4], features[4:]), torch.zeros(7, dtype=torch.long), torch.arange(7)
    )
    index = torch.tensor([6, 3, 0, 2, 4, 3])
    assert torch.equal(split.gather(index), features[index])
    assert torch.equal(split.view("plain"), features)


def test_gather_of_nothing(pristine):
    """A process's share of the last batch may be empty."""
    for mapped in (False, True):
        assert open_cache(pristine).split("train", mapped=mapped).gather(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0, 8)


def test_some_views(pristine, arrays):
    split = open_cache(pristine).split("train", views=("aug2",))
    assert split.views == ("aug2",)
    assert torch.equal(split.view("aug2"), arrays()["train/features/aug2"])
    with pytest.raises(UserError, match="train has no view 'flip'; it has plain, aug1, aug2"):
        open_cache(pristine).split("train", views=("flip",))


def test_no_such_split(tmp_path, make_cache):
    with pytest.raises(UserError, match="this cache has no val split; it has test, train"):
        open_cache(make_cache(tmp_path / "no-val", without=("val",))).split("val")


FILES = ("train", "val", "test", "head")


@pytest.mark.parametrize("file", FILES)
def test_truncated(copy, file):
    path = copy / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=rf"{file}\.safetensors: damaged or truncated") as caught:
        read_everything(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", FILES)
def test_empty(copy, file):
    (copy / f"{file}.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=rf"{file}\.safetensors: damaged or truncated"):
        read_everything(copy)


@pytest.mark.parametrize("file", FILES)
def test_one_bit_altered(copy, file):
    path = copy / f"{file}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{file}\.safetensors: .* does not have the checksum of the manifest"):
        read_everything(copy)
    with pytest.raises(UserError, match="checksum"):
        open_cache(copy).verify()


@pytest.mark.parametrize("file", FILES)
def test_missing(copy, file):
    (copy / f"{file}.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{file}\.safetensors: missing"):
        read_everything(copy)


def test_an_array_missing_from_a_file(copy):
    path = copy / "test.safetensors"
    tensors = load_file(path)
    del tensors["test/labels"]
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"test\.safetensors: damaged"):
        read_everything(copy)


def test_another_shape_or_type_than_the_manifest_says(copy):
    path = copy / "head.safetensors"
    tensors = load_file(path)
    for other in (tensors["head/weight"][:, :7].contiguous(), tensors["head/weight"].half()):
        save_file({**tensors, "head/weight": other}, path)
        with pytest.raises(UserError, match=r"head/weight is torch\..* the manifest says float32 \(6, 8\)"):
            open_cache(copy).head()


def rewrite(directory, name, change):
    """Change an array with its checksum, the cache's key and the seal, as a writer with a fault would have."""
    file = directory / f"{name.split('/')[0]}.safetensors"
    tensors = load_file(file)
    tensors[name] = change(tensors[name])
    save_file(tensors, file)
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    document["arrays"][name]["parts"][0]["sha256"] = digest(tensors[name])
    path.write_text(manifest_of(document, path).to_json())


def test_labels_out_of_range(copy):
    rewrite(copy, "test/labels", lambda labels: torch.where(labels == 5, 6, labels))
    with pytest.raises(UserError, match=r"test/labels holds 6, expected 0\.\.5"):
        read_everything(copy)


def test_labels_that_are_not_the_train_counts(copy):
    rewrite(copy, "train/labels", lambda labels: torch.where(labels == 5, 4, labels))
    with pytest.raises(UserError, match="train_counts of the manifest are not those of train/labels"):
        read_everything(copy)


def test_other_labels_under_a_checksum_put_right_are_another_cache(copy):
    """Their checksum alone is refused, as it does not fit the key; with the key of their own they are another cache."""
    before = open_cache(copy).key
    rewrite(copy, "test/labels", lambda labels: labels.flip(0))
    assert open_cache(copy).key != before
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(document | {"key": before}))
    with pytest.raises(UserError, match="does not fit the manifest's own fields"):
        open_cache(copy)


def test_nothing_is_read_before_it_is_asked_for(copy):
    """A damaged test split does not touch the training split."""
    (copy / "test.safetensors").unlink()
    assert len(open_cache(copy).split("train")) == 145


def test_require_names_the_field(pristine):
    cache = open_cache(pristine)
    require(cache, split_hash="5" * 16, dtype="float32")
    with pytest.raises(UserError, match=r"split_hash is 5555555555555555, expected another"):
        require(cache, split_hash="another")
