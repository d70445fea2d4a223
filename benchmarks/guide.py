"""The figures of docs/own_data.md: its own commands, run on a folder of images that is made of tables.

    python -m benchmarks.guide TABLES OUT [--held-back 500]

TABLES is a folder of Parquet files with columns `image` (encoded bytes) and `label` and the class names in their metadata; for the guide, the 30,335 images of 121 classes of a public plankton competition. OUT is an empty folder, or none yet. All images but those held back, drawn with seed 0, go to
OUT/photos, the others to OUT/later, one folder for each class. Then the commands of the guide's first block run in OUT as they stand there, so their strategy is to be that which `choose` takes. Before `update`
the images of `later` join `photos`. What the commands print is in OUT/guide.log. No image leaves OUT.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own_data.md"


def make_folders(tables: Path, out: Path, held_back: int) -> None:
    """Write the images of all tables to ``photos`` and ``later``, named by table and row: the same from the same tables."""
    files = [(path, parquet.ParquetFile(path)) for path in sorted(tables.glob("*.parquet"))]
    total = sum(file.metadata.num_rows for _, file in files)
    later = set(np.random.default_rng(0).permutation(total)[:held_back].tolist())
    number = 0
    for path, file in files:
        names = file.schema_arrow.metadata[b"classes"].decode().split(",")
        for row, one in enumerate(one for batch in file.iter_batches() for one in batch.to_pylist()):
            folder = out / ("later" if number in later else "photos") / names[one["label"]]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{path.stem}-{row:05d}.jpg").write_bytes(one["image"]["bytes"])
            number += 1


def commands(page: str) -> list[list[str]]:
    """The words of each `lt-bench` line of the page's first block of commands."""
    block = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    if block is None:
        raise SystemExit(f"{PAGE}: no block of commands")
    return [shlex.split(line)[1:] for line in block[1].splitlines() if line.startswith("lt-bench ")]


def run_all(out: Path) -> Iterator[str]:
    """Run the guide's commands in ``out``, and give what each printed."""
    for words in commands(PAGE.read_text(encoding="utf-8")):
        if words[0] == "update":
            shutil.copytree(out / "later", out / "photos", dirs_exist_ok=True)
        if any("RECORD" in word for word in words):
            record = max(out.glob("results/folder/*.json"), key=lambda path: path.stat().st_mtime)
            words = [str(record.relative_to(out)) if "RECORD" in word else word for word in words]
        done = subprocess.run(
            [sys.executable, "-m", "lt_bench", *words], cwd=out, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        yield f"$ lt-bench {shlex.join(words)}\n{done.stdout}\n"
        if done.returncode:
            raise SystemExit(f"`lt-bench {shlex.join(words)}` ended with code {done.returncode}")


def main() -> None:
    """Make the folders, and run the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-back", type=int, default=500)
    options = parser.parse_args()
    if options.out.is_dir() and any(options.out.iterdir()):
        parser.error(f"{options.out}: not empty; `update` moves images, so the commands run once in a folder")
    make_folders(options.tables, options.out, options.held_back)
    with (options.out / "guide.log").open("a", encoding="utf-8") as log:
        for text in run_all(options.out):
            print(text, flush=True)
            log.write(text)
            log.flush()


if __name__ == "__main__":
    main()
