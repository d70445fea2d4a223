"""The boards of the protocol, and the commands that make their caches: ``python -m benchmarks.ours.boards --data DIR --caches DIR``.

DIR of the data holds ``cifar10``, ``cifar100`` and ``plankton`` with ``{train,val,test}.parquet`` each, and weights of stage 1. Caches that are there are left alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lt_bench.features.locate import shipped
from lt_bench.features.manifest import MANIFEST_NAME

FACTOR, MOST = 100, 500
OF_STAGE1 = ("--backbone", "resnet10s2", "--val-seen-by-backbone", "false", "--views", "1")
"""Options of `extract` for backbones that the suite trained: one augmented view."""
STAGE1 = ("--dataset", "cifar100_lt", *OF_STAGE1, "--dtype", "affine8")
"""Options for CIFAR-100-LT: features in 8 bits, as in the shipped cache."""
CIFAR10 = ("--dataset", "cifar10_lt", *OF_STAGE1, "--dtype", "float16")
"""8 bits are refused here: they would move 8 of 512 dimensions by more than 5 % of their spread."""
TABLE = ("--dataset", "table", "--image-size", "128", "--dtype", "float16")
LITE0 = (*TABLE, "--backbone", "efficientnet_lite0")


@dataclass(frozen=True)
class Board:
    """A board of the protocol.

    Attributes:
        name: also of its cache.
        words: what its features are.
        extraction: options of ``lt-bench extract`` beside ``--name``, ``--out`` and ``--data-dir``; none for the cache that is shipped.
        weights: of stage 1, below the data.
        table: data set that one table is made of, below the data.
    """

    name: str
    words: str
    extraction: tuple[str, ...] = ()
    weights: str = ""
    table: str = ""

    def cache(self, caches: Path) -> Path:
        """Folder of its cache."""
        return caches / self.name if self.extraction else shipped("checkpoints") / self.name


BOARDS = (
    Board("cifar100_lt-if100-resnet10s2", "CIFAR-100-LT, strong stage 1, seed 0 (shipped)"),
    Board("cifar100_lt-strong_s1", "CIFAR-100-LT, strong stage 1, seed 1", STAGE1, "features/resnet10s2_strong_s1.weights.safetensors"),
    Board("cifar100_lt-ordinary_s0", "CIFAR-100-LT, ordinary stage 1, seed 0", STAGE1, "features/resnet10s2_ordinary_s0.weights.safetensors"),
    Board("cifar10_lt-strong_s0", "CIFAR-10-LT, strong stage 1, seed 0", CIFAR10, "features/resnet10s2_cifar10_strong_s0.weights.safetensors"),
    Board("cifar100_lt-lite0-128", "CIFAR-100-LT, EfficientNet-Lite0 at 128 pixels", LITE0, table="cifar100"),
    Board("plankton-lite0-128", "plankton, EfficientNet-Lite0 at 128 pixels", LITE0, table="plankton"),
)  # fmt: skip
OTHERS = (
    Board("cifar100_lt-if100-resnet10s2-s3", "CIFAR-100-LT, strong stage 1, seed 3 (shipped)"),
    Board("cifar100_lt-strong_s2", "CIFAR-100-LT, strong stage 1, seed 2", STAGE1, "features/resnet10s2_strong_s2.weights.safetensors"),
    Board("cifar100_lt-strong_s4", "CIFAR-100-LT, strong stage 1, seed 4", STAGE1, "features/resnet10s2_strong_s4.weights.safetensors"),
    Board("cifar100_lt-ordinary_s1", "CIFAR-100-LT, ordinary stage 1, seed 1", STAGE1, "features/resnet10s2_ordinary_s1.weights.safetensors"),
    Board("cifar100_lt-ordinary_s2", "CIFAR-100-LT, ordinary stage 1, seed 2", STAGE1, "features/resnet10s2_ordinary_s2.weights.safetensors"),
    Board("cifar100_lt-ordinary_s3", "CIFAR-100-LT, ordinary stage 1, seed 3", STAGE1, "features/resnet10s2_ordinary_s3.weights.safetensors"),
    Board("cifar100_lt-ordinary_s4", "CIFAR-100-LT, ordinary stage 1, seed 4", STAGE1, "features/resnet10s2_ordinary_s4.weights.safetensors"),
    Board("cifar100_lt-lite2-128", "CIFAR-100-LT, EfficientNet-Lite2 at 128 pixels", (*TABLE, "--backbone", "efficientnet_lite2"), table="cifar100"),
)  # fmt: skip
"""Boards that came after the protocol's look at test: further stages 1 (`benchmarks.evidence` trains them), on which its outcome may be repeated, and one of ``benchmarks/suites/foundation.yaml``."""


def command(board: Board, data: Path, caches: Path) -> list[str]:
    """The command that makes a board's cache."""
    where = ["--weights", str(data / board.weights), "--data-dir", str(data)] if board.weights else ["--data-dir", str(_table(board))]
    return ["lt-bench", "extract", *board.extraction, *where, "--name", board.name, "--out", str(board.cache(caches))]


def _table(board: Board) -> Path:
    return Path("build") / f"{board.table}.parquet"


def write_table(board: Board, data: Path) -> None:
    """One table with a column ``split``, of the three files of a data set; of CIFAR-100's training images those of imbalance factor 100. An image that comes again is left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lt_bench.data.profiles import profile_counts
    from lt_bench.data.splits import select_rows

    tables = []
    for split in ("train", "val", "test"):
        table = pq.read_table(data / board.table / f"{split}.parquet")
        if (board.table, split) == ("cifar100", "train"):
            labels = table.column("label").to_numpy()
            table = table.take(sorted(select_rows(labels, profile_counts("exponential", MOST, FACTOR, int(labels.max()) + 1), "first")))
        tables.append(table.append_column("split", pa.array([split] * len(table))))
    table = pa.concat_tables(tables)
    first: dict[bytes, int] = {}
    for row, image in enumerate(table.column("image").to_pylist()):
        first.setdefault(image["bytes"], row)
    _table(board).parent.mkdir(exist_ok=True)
    pq.write_table(table.take(sorted(first.values())), _table(board))
    sys.stdout.write(f"{board.table}: {len(first)} of {len(table)} images\n")


def main() -> None:
    """Make the caches that are missing, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--caches", type=Path, required=True)
    options = parser.parse_args()
    for board in (*BOARDS, *OTHERS):
        if (board.cache(options.caches) / MANIFEST_NAME).is_file():
            continue
        if board.table:
            write_table(board, options.data)
        words = command(board, options.data, options.caches)
        sys.stdout.write(" ".join(words) + "\n")
        subprocess.run([sys.executable, "-m", *[words[0].replace("-", "_"), *words[1:]]], check=True)


if __name__ == "__main__":
    main()
