"""Stage-1 backbones on one lent GPU: several trainings side by side, in pieces that end inside a time limit and go on where they stopped.

    python benchmarks/gpu/stage1.py carry --data-dir DIR --dataset cifar100 --imbalance-factor 50 --to .carry     (at home)
    python benchmarks/gpu/stage1.py probe --data-dir .carry --out /tmp/stage1                                     (there: what a step costs)
    python benchmarks/gpu/stage1.py train --data-dir .carry --out /tmp/stage1 --limit 540 JOB...                  (there, again until all is done)
    python benchmarks/gpu/stage1.py pack --runs /tmp/stage1 --to $OUT RUN/weights.safetensors RUN/cache           (there: parts that may travel)
    python benchmarks/gpu/stage1.py unpack --parts DIR --to checkpoints                                           (at home)

A JOB is ``dataset:imbalance_factor:backbone:recipe:seed``, e.g. ``cifar100_lt:100:resnet34:los:0``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_bench.engine.pretrain.small_images import Pretraining

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the device machine has the checkout, not the package

PART_BYTES = 15 * 1024 * 1024
PART_NAME = "stage1.tar.part"


@dataclass(frozen=True)
class Job:
    """One training."""

    dataset: str
    imbalance_factor: float
    backbone: str
    recipe: str
    seed: int

    @staticmethod
    def parse(text: str) -> Job:
        """A job from its short form."""
        dataset, factor, backbone, recipe, seed = text.split(":")
        return Job(dataset, float(factor), backbone, recipe, int(seed))

    @property
    def name(self) -> str:
        """Name of its directory and of its cache."""
        return f"{self.dataset}_if{self.imbalance_factor:g}_{self.backbone}_{self.recipe}_seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.dataset}:{self.imbalance_factor:g}:{self.backbone}:{self.recipe}:{self.seed}"


def carry(options: argparse.Namespace) -> None:
    """Copy a data set's parquet files, leaving out the encoded images of rows that no subset down to the given factor needs; row numbers stay."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lt_bench.data.profiles import profile_counts
    from lt_bench.data.splits import select_rows

    source, target = options.data_dir / options.dataset, options.to / options.dataset
    target.mkdir(parents=True, exist_ok=True)
    for split in ("val", "test"):
        shutil.copyfile(source / f"{split}.parquet", target / f"{split}.parquet")
    table = pq.read_table(source / "train.parquet")
    labels = table.column("label").to_numpy()
    counts = profile_counts("exponential", int(np.bincount(labels).max()), options.imbalance_factor, int(labels.max()) + 1)
    needed = np.zeros(len(labels), dtype=bool)
    needed[select_rows(labels, counts, "first")] = True
    column = table.column("image").combine_chunks()
    data = [value.as_py() if keep else None for value, keep in zip(column.field("bytes"), needed, strict=True)]
    image = pa.StructArray.from_arrays([pa.array(data, pa.binary()), column.field("path")], names=["bytes", "path"])
    pq.write_table(table.set_column(0, "image", image), target / "train.parquet")
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {needed.sum()} of {len(labels)} training images, {size / 2**20:.1f} MiB")


def one(options: argparse.Namespace) -> None:
    """Run one job in this process."""
    from lt_bench.bench.options import PretrainOptions
    from lt_bench.bench.pretrain import pretrain

    job = Job.parse(options.jobs[0])
    stage1 = PretrainOptions(
        dataset=job.dataset, data_dir=options.data_dir, out=options.out / job.name, backbone=job.backbone, recipe=job.recipe,
        imbalance_factor=job.imbalance_factor, seed=job.seed, epochs=options.epochs, views=options.views, dtype=options.dtype,
        accelerator=options.accelerator, compiled=options.compiled, deterministic=not options.fast, half_weights=True,
        keep_epochs=[160] if job.recipe == "ldam" and not options.epochs else [], cache=options.out / job.name / job.name,
    )  # fmt: skip
    command = f"python benchmarks/gpu/stage1.py train --data-dir DIR --out DIR {job}"
    pretrain(stage1, command=command, checkpoint_every=options.checkpoint_every)


def train(options: argparse.Namespace) -> None:
    """Run the jobs side by side until all are done or the time is up; what is not done goes on at the next call."""
    deadline = time.monotonic() + options.limit
    options.out.mkdir(parents=True, exist_ok=True)
    waiting, running = [Job.parse(text) for text in options.jobs], {}
    environment = os.environ | {"OMP_NUM_THREADS": "2"} | (_start_mps(options.out) if options.mps else {})
    passed_on = ["--data-dir", str(options.data_dir), "--out", str(options.out), "--views", str(options.views), "--dtype", options.dtype]
    passed_on += ["--accelerator", options.accelerator, "--checkpoint-every", str(options.checkpoint_every)]
    passed_on += ["--epochs", str(options.epochs)] * bool(options.epochs) + ["--compiled"] * options.compiled + ["--fast"] * options.fast
    while (waiting or running) and time.monotonic() < deadline:
        while waiting and len(running) < options.parallel:
            job = waiting.pop(0)
            with (options.out / f"{job.name}.out").open("ab") as output:
                command = [sys.executable, __file__, "one", *passed_on, str(job)]
                running[job] = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        time.sleep(0.5)
        for job, process in list(running.items()):
            if process.poll() is not None:
                del running[job]
                print(f"{job.name}: ended with {process.returncode}, {deadline - time.monotonic():.0f} s left", flush=True)
                if process.returncode:
                    print(
                        "".join((options.out / f"{job.name}.out").read_text(errors="replace").splitlines(keepends=True)[-25:]), flush=True
                    )
    for process in running.values():
        process.kill()
        process.wait()
    if options.mps:
        _stop_mps(environment)
    for text in options.jobs:
        print(_state(options.out, Job.parse(text)))


def _state(out: Path, job: Job) -> str:
    directory = out / job.name
    if not (directory / "log.csv").is_file():
        return f"{job.name}: not begun"
    with (directory / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seconds = statistics.median(float(row["seconds"]) for row in rows)
    validated = [row for row in rows if row["val_accuracy"]]
    text = f"{job.name}: epoch {rows[-1]['epoch']}, {seconds:.2f} s/epoch, loss {float(rows[-1]['loss']):.4f}"
    if validated:
        text += f", val {100 * float(validated[-1]['val_accuracy']):.2f} % at epoch {validated[-1]['epoch']}"
    return text + (_test_accuracy(directory / job.name) if (directory / job.name / "manifest.json").is_file() else "")


def _test_accuracy(cache_directory: Path) -> str:
    import numpy as np

    from lt_bench.features.cache import open_cache
    from lt_bench.metrics.groups import group_means, shot_groups

    cache = open_cache(cache_directory)
    test, head = cache.split("test"), cache.head()
    assert head is not None
    texts = []
    logits = {view: test.view(view).float() @ head.weight.T + head.bias for view in ("plain", "flip")}
    for name, z in (("plain", logits["plain"]), ("flip-averaged", (logits["plain"] + logits["flip"]) / 2)):
        correct = (z.argmax(1) == test.labels).double().numpy()
        labels, K = test.labels.numpy(), cache.manifest.dataset.num_classes
        per_class = np.bincount(labels, correct, K) / np.bincount(labels, minlength=K)
        groups = group_means(per_class, shot_groups(cache.manifest.dataset.train_counts))
        texts.append(f"{name} {100 * correct.mean():.2f} ({' / '.join(f'{100 * v:.1f}' for v in groups.values())})")
    return ", test " + ", ".join(texts)


def _start_mps(out: Path) -> dict[str, str]:
    """NVIDIA's multi-process service, so that kernels of several processes run at the same time; without it they take turns."""
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(out / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(out / "mps")}
    (out / "mps").mkdir(exist_ok=True)
    try:
        subprocess.run(["nvidia-cuda-mps-control", "-d"], env=os.environ | environment, check=True, timeout=20)
        trial = [sys.executable, "-c", "import torch; torch.ones(8, device='cuda').sum().item()"]
        subprocess.run(trial, env=os.environ | environment, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no multi-process service here ({error}); going on without", flush=True)
        _stop_mps(os.environ | environment)
        return {}
    return environment


def _stop_mps(environment: dict[str, str]) -> None:
    if "CUDA_MPS_PIPE_DIRECTORY" in environment and shutil.which("nvidia-cuda-mps-control"):
        subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", env=environment, check=False, timeout=20)


def probe(options: argparse.Namespace) -> None:
    """Time a step of ResNet-34 at batch 64 in several ways, and compare the captured step with the plain one."""
    import torch

    from lt_bench.bench.pretrain import fresh_network
    from lt_bench.data.readers.small_images import load_small_images
    from lt_bench.engine.pretrain.recipes import stage1_recipe
    from lt_bench.engine.pretrain.small_images import Pretraining

    job = Job.parse(options.jobs[0])
    data = load_small_images(job.dataset, options.data_dir, imbalance_factor=job.imbalance_factor)
    recipe = stage1_recipe(job.recipe).with_epochs(options.epochs or 3)
    on_gpu = options.accelerator != "cpu" and torch.cuda.is_available()
    weights = {}
    for label, graphs, deterministic, compiled in (
        ("plain, deterministic", False, True, False),
        ("graph, deterministic", True, True, False),
        ("graph, benchmark", True, False, False),
        ("graph, benchmark, compiled", True, False, True),
    )[: (4 if options.compiled else 3) if on_gpu else 1]:
        network = fresh_network(job.backbone, len(data.train_counts), job.seed)
        if compiled:
            network.compile(dynamic=False)
        started = time.perf_counter()
        module = Pretraining(network, data, recipe, seed=job.seed, precision="bf16" if on_gpu else "fp32", graphs=graphs)
        seconds = _timed_epochs(module, on_gpu, deterministic)
        steps = -(-len(data.splits["train"]) // module.batch)
        weights[label] = module.network.fc.weight.detach().cpu()
        shown = ", ".join(f"{s:.2f}" for s in seconds)
        print(
            f"{label}: {1000 * seconds[-1] / steps:.3f} ms/step; epochs {shown} s; {time.perf_counter() - started:.1f} s in all", flush=True
        )
    if on_gpu:
        difference = (weights["plain, deterministic"] - weights["graph, deterministic"]).abs().max()
        print(f"largest difference of the classifier's weights, graph from plain: {float(difference):.3g}")
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def _timed_epochs(module: Pretraining, on_gpu: bool, deterministic: bool) -> list[float]:
    import torch
    from lightning.pytorch import Callback, Trainer

    seconds: list[float] = []

    class Clock(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            module.epoch_figures()  # waits for the device
            seconds.append(time.perf_counter() - self.started)

    with torch.backends.cudnn.flags(enabled=True, benchmark=not deterministic, deterministic=deterministic):
        Trainer(
            accelerator="gpu" if on_gpu else "cpu", devices=1, max_epochs=module.recipe.optimisation.epochs, logger=False, callbacks=[Clock()],
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ).fit(module)  # fmt: skip
    return seconds


def pack(options: argparse.Namespace) -> None:
    """Tar files and directories of the runs into parts small enough to travel; logs and plans of all runs always go along."""
    options.to.mkdir(parents=True, exist_ok=True)
    archive = options.to / "stage1.tar"
    wanted = {options.runs / name for name in options.jobs} | set(options.runs.glob("*/log.csv")) | set(options.runs.glob("*/plan.json"))
    with tarfile.open(archive, "w") as tar:
        for path in sorted(wanted):
            if not path.exists():
                print(f"{path}: not there, left out")
                continue
            tar.add(path, arcname=str(path.relative_to(options.runs)))
    data, size = archive.open("rb"), archive.stat().st_size
    with data:
        for number in range(-(-size // PART_BYTES)):
            (options.to / f"{PART_NAME}{number:02d}").write_bytes(data.read(PART_BYTES))
    archive.unlink()
    print(f"{size / 2**20:.1f} MiB in {-(-size // PART_BYTES)} parts")


def unpack(options: argparse.Namespace) -> None:
    """Put the parts together again and unpack them."""
    parts = sorted(options.parts.rglob(f"{PART_NAME}*"))
    options.to.mkdir(parents=True, exist_ok=True)
    archive = options.to / "stage1.tar"
    with archive.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())
    with tarfile.open(archive) as tar:
        tar.extractall(options.to, filter="data")
        print(json.dumps([member.name for member in tar if member.isfile()], indent=1))
    archive.unlink()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = {"carry": carry, "one": one, "train": train, "probe": probe, "pack": pack, "unpack": unpack}
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("jobs", nargs="*", default=["cifar100_lt:100:resnet34:los:0"], help="jobs, or what to pack")
    for name in ("--data-dir", "--out", "--runs", "--to", "--parts"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--dataset", default="cifar100", help="carry: cifar10 or cifar100")
    parser.add_argument("--imbalance-factor", type=float, default=100, help="carry: the smallest factor whose subset must be there")
    parser.add_argument("--limit", type=float, default=540, help="train: seconds after which unfinished jobs are stopped")
    parser.add_argument("--parallel", type=int, default=4, help="train: jobs at a time")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    parser.add_argument("--views", type=int, default=1, help="augmented views in the cache")
    parser.add_argument("--dtype", default="affine8", help="of the cache: float16, float32 or affine8")
    parser.add_argument("--checkpoint-every", type=int, default=10)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--compiled", action="store_true", help="compile the network; probe: try that too (a minute)")
    parser.add_argument("--fast", action="store_true", help="cuDNN's fastest algorithms instead of its deterministic ones")
    parser.add_argument("--mps", action="store_true", help="train: start NVIDIA's multi-process service")
    options = parser.parse_intermixed_args()
    verbs[options.verb](options)


if __name__ == "__main__":
    main()
