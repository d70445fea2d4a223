import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from small_image_files import encode

from benchmarks import groups
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights


@pytest.mark.slow
def test_a_split_by_group_shows_what_was_remembered(tmp_path, monkeypatch, capsys):
    """Tracks are noise that has nothing to do with their class: by image they are recognised, by group there is nothing to learn."""
    generator = np.random.default_rng(0)
    images, labels, track = [], [], []
    for t in range(40):
        picture = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        for frame in range(5):
            noisy = np.clip(picture.astype(int) + generator.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)
            images.append({"bytes": encode(np.asarray(Image.fromarray(noisy).resize((32 + frame, 32 + frame)))), "path": None})
            labels.append("ab"[t % 2])
            track.append(t)
    pq.write_table(pa.table({"image": images, "label": labels, "track": track}), tmp_path / "t.parquet")
    torch.manual_seed(0)
    save_weights(build_backbone("resnet20", 2), tmp_path / "w.safetensors")
    given = ["--data-dir", tmp_path / "t.parquet", "--group-column", "track", "--backbone", "resnet20", "--weights", tmp_path / "w.safetensors", "--seeds", "1", "--strategies", "ncm"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["groups.py", *map(str, given)])
    groups.main()
    rows = {
        line.split("|")[1].strip(): [float(cell) for cell in line.split("|")[2:-1]] for line in capsys.readouterr().out.splitlines()[1:]
    }
    assert rows["by image"][0] > 90
    assert rows["by group"][0] == 0
