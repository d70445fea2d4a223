"""Why MaxNorm ends below the stage-1 head: the bound alone, the fit under it, and the fit with the log prior taken off its logits.

    python benchmarks/maxnorm_bound.py --caches DIR... --out benchmarks/results/maxnorm-bound.md

Validation images only. ``threshold`` is the hyper-parameter; 1 is no bound that acts on the rows as they begin.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as the other benchmarks: a checkout will do

from lt_bench.bench.planning import plan  # noqa: E402
from lt_bench.bench.sources.cache import CacheSource  # noqa: E402
from lt_bench.bench.tuning.tune import check_validation  # noqa: E402
from lt_bench.core.files import write_text  # noqa: E402
from lt_bench.engine.heads.fit import Hardware  # noqa: E402
from lt_bench.features.cache import open_cache  # noqa: E402
from lt_bench.strategies._lib.tensors import linear_head  # noqa: E402
from lt_bench.strategies.registry import find  # noqa: E402

THRESHOLDS = (0.0, 0.1, 0.3, 0.6, 1.0)


def accuracy(bench: CacheSource, head: nn.Module) -> str:
    """Macro accuracy, and accuracies of many, medium and few, on validation in per cent; groups without images are left out."""
    found = bench.measure(head, "val").scalars
    groups = [f"{100 * found[name]:.1f}" for name in ("many", "medium", "few") if found[name] == found[name]]
    return f"{100 * found['macro_accuracy']:.2f} ({' / '.join(groups)})"


def rows_of(bench: CacheSource, weight: Tensor, bias: Tensor) -> list[str]:
    """A row of the table per threshold."""
    manifest, norms = bench.manifest, weight.norm(dim=1)
    prior = torch.tensor(manifest.dataset.train_counts).float()
    prior = (prior / prior.sum()).log()
    planned = [plan(find("maxnorm"), manifest, {"threshold": threshold}, [0])[0] for threshold in THRESHOLDS]
    fits = {run.id: (fitted, head) for runs, fitted in bench.fitted(planned) for head, run in enumerate(runs)}
    lines = []
    for threshold, run in zip(THRESHOLDS, planned, strict=True):
        fitted, head = fits[run.id]
        module = fitted.head(head).inference_head()
        assert isinstance(module, nn.Linear)
        radius = norms.min() + threshold * (norms.max() - norms.min())
        bounded = linear_head(weight * (radius / norms).clamp_max(1).unsqueeze(1), bias)
        without = linear_head(module.weight, module.bias - prior)
        cells = [
            f"{threshold:g}",
            f"{radius:.2f}",
            f"{int((norms > radius * (1 + 1e-6)).sum())}",
            accuracy(bench, bounded),
            accuracy(bench, module),
        ]
        cells += [accuracy(bench, without), f"{fitted.history[head][-1]['loss']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def section(directory: Path) -> str:
    """The table of one cache."""
    cache = open_cache(directory)
    check_validation(cache)
    head, bench = cache.head(), CacheSource(cache, Hardware("cpu", 1))
    if head is None:
        sys.exit(f"{directory}: maxnorm starts from the stage-1 head, and this cache has none")
    weight, bias = head.weight.float(), head.bias.float()
    norms = weight.norm(dim=1)
    lines = [
        f"## {cache.manifest.name} (key `{cache.manifest.key}`)",
        "",
        f"Stage-1 rows: {norms.min():.2f} to {norms.max():.2f} long. `joint` {accuracy(bench, linear_head(weight, bias))}.",
        "",
        "| threshold | radius | rows it shortens | stage-1 head, rows bounded | fitted under the bound | the same less log prior | training loss |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*lines, *rows_of(bench, weight, bias)])


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caches", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    head = (
        "# MaxNorm: what the bound does, and what the fit under it does\n\nMade by `python benchmarks/maxnorm_bound.py`; validation macro accuracy in per cent "
        "(many / medium / few),\nthe strategy's own hyper-parameters but for `threshold`, seed 0; the loss is that of the last epoch.\n"
    )
    write_text(options.out, head + "".join(f"\n{section(directory)}\n" for directory in options.caches))


if __name__ == "__main__":
    main()
