import numpy as np
import torch

from lt_bench.data.images.augment import Crops, Normalise, crop, padded


def reference(image, top, left, flip):
    """Crop and flip of one (3, H, W) image as PIL and numpy would do it."""
    _, H, W = image.shape
    out = np.pad(image, ((0, 0), (4, 4), (4, 4)))[:, top : top + H, left : left + W]
    return out[:, :, ::-1] if flip else out


def test_crop_is_pad_crop_flip():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 3, 7, 9), dtype=np.uint8)
    draws = Crops.random(50, generator)
    index = torch.from_numpy(generator.integers(0, 20, 50))
    found = crop(padded(images), index, draws)
    expected = np.stack(
        [reference(images[i], *map(int, c), bool(f)) for i, c, f in zip(index.tolist(), draws.corner, draws.flip, strict=True)]
    )
    assert np.array_equal(found.numpy(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_plain_and_flip():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    store, index = padded(images), torch.arange(5)
    assert np.array_equal(crop(store, index, Crops.plain(5)).numpy(), images)
    assert np.array_equal(crop(store, index, Crops.plain(5, flip=True)).numpy(), images[..., ::-1])


def test_draws_cover_every_corner_and_flip_half():
    draws = Crops.random(20000, np.random.default_rng(1))
    assert draws.corner.min() == 0
    assert draws.corner.max() == 8
    assert torch.unique(draws.corner, dim=0).shape[0] == 81
    assert abs(float(draws.flip.double().mean()) - 0.5) < 0.02


def test_normalise():
    mean, std = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    expected = (images.double() / 255 - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(std).double().view(3, 1, 1)
    assert torch.allclose(Normalise(mean, std)(images).double(), expected, atol=1e-6)
