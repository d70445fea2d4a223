"""From the options of `lt-bench pretrain` to the line that trains the same again."""

import shlex

from lt_bench.bench.from_images import _command
from lt_bench.bench.options import PretrainOptions


def test_the_command_names_what_differs_from_the_usual():
    options = PretrainOptions(dataset="cifar100_lt", views=1, dtype="affine8")
    words = shlex.split(_command("pretrain", options, recipe="fast", epochs=None, precision="bf16", compiled=False, half_weights=True))
    assert words[:4] == ["lt-bench", "pretrain", "--data-dir", "DIR"]
    assert words[-5:] == ["--recipe", "fast", "--precision", "bf16", "--half-weights"]
    assert "--epochs" not in words
    assert "--compiled" not in words
