"""The trainings, in their order, and the heads on each of them: the one place where they are named."""

from __future__ import annotations

from dataclasses import dataclass

STAGE1 = "pretrain --data-dir {data} --out {folder} --precision bf16"
WHOLE = "run --mode end-to-end --data-dir {data} --checkpoints {folder} --results {results} --best-test-epoch true --precision bf16"
HEADS = "bench {folder}.heads.yaml --results {results}"


@dataclass(frozen=True)
class Training:
    """A training of the queue: its name, also of its folder, and commands of lt-bench, each of which goes on where it was ended; {data}, {home}, {folder} and {results} are places."""

    name: str
    commands: tuple[str, ...]

    @property
    def stage1(self) -> bool:
        """Whether it is a stage 1, whose weights may be given instead of trained."""
        return self.commands[0].startswith("pretrain ")


def _stage1(name: str, options: str, dataset: str = "cifar100") -> Training:
    return Training(name, (f"{STAGE1} --dataset {dataset}_lt {options}", HEADS))


def _fast(name: str, seed: int, more: str = "", dataset: str = "cifar100") -> Training:
    options = f"--backbone resnet10s2 --recipe fast --compiled --half-weights --seed {seed} {more}"
    return _stage1(f"{name}_s{seed}", options.strip(), dataset)


def _whole(name: str, options: str) -> Training:  # not compiled: that has not paid on a CPU
    return Training(name, (f"{WHOLE} --dataset cifar100_lt --backbone resnet32 {options}",))


def _phase2(name: str, strategy: str, epoch: int, more: str = "", phase1: str = "r32_ldam_s0") -> Training:
    return _whole(name, f"--strategy {strategy} {more}--phase1 {{home}}/{phase1}/epoch-{epoch}.ckpt")


_SEED0 = "--selection seed0"  # the subset of Table 1a, drawn from the official files; the phase 1 of seed 0 was given, on the first images of each class
_R32 = "--backbone resnet32 --recipe ldam --keep-epochs 100,130,160"
QUEUE: tuple[Training, ...] = (
    *(_fast(f"c100_{kind}", seed, more) for seed in range(5) for kind, more in (("strong", ""), ("ordinary", "--recipe.weight_decay 4e-4"))),  # one network, two regularisations
    _stage1("r32_ldam_s0", f"{_R32} --seed 0"),  # a phase 1 on the first images of each class, and its second phases
    _phase2("r32_d_ffds", "d_ffds", 130),
    *(_phase2(f"r32_{strategy}_recipe_ib", strategy, 100, "--recipe ib ") for strategy in ("ib", "ib_fl", "ib_cb")),
    _whole("r32_ldam_drw", "--strategy ldam_drw --recipe ldam"),  # on the same images
    *(_whole(f"r32_seed0_{strategy}", f"{_SEED0} --strategy {strategy} --recipe ldam") for strategy in ("ldam", "ldam_drw")),
    *(_stage1(f"r32_seed0_ldam_s{seed}", f"{_SEED0} {_R32} --seed {seed}") for seed in (1, 2)),
    *(_fast("c10_strong", seed, dataset="cifar10") for seed in range(3)),
    *(_fast(f"c100_if{factor}", 0, f"--imbalance-factor {factor}") for factor in (10, 50, 200)),
    *(_whole(f"r32_seed0_{strategy}", f"{_SEED0} --strategy {strategy} --recipe ldam") for strategy in ("focal", "cb", "cb_focal", "ffds")),
    _stage1("r34_los_s0", "--backbone resnet34 --recipe los --compiled --seed 0"),
    _phase2("r32_seed0_ib", "ib", 100, f"{_SEED0} --recipe ib ", "r32_seed0_ldam_s1"),
    _phase2("r32_seed0_d_ffds", "d_ffds", 130, f"{_SEED0} ", "r32_seed0_ldam_s1"),
    *(_phase2(f"r32_{strategy}_late", strategy, 160, "--recipe ldam ") for strategy in ("balanced_softmax", "crt", "los", "cb")),  # beside frozen heads
)  # fmt: skip

STRATEGIES: tuple[str | dict[str, object], ...] = (
    "joint", "logit_adjustment", "tau_norm", "ncm", "standardised_la", "prototype_la", "balanced_softmax", "crt", "weight_balancing", "d_ffds",
    {"name": "los", "axes": {"epsilon": [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98]}}, {"name": "los", "axes": {"epochs": [1, 2, 5, 10, 40, 80]}},
    *({"name": "convex_la", "tau": 0.0, "epsilon": 0.98, "ridge": ridge} for ridge in (3e-3, 1e-4, 1e-6)),
    "val_probe", "random_head", "ncm_one_image", {"name": "random_scales", "axes": {"sigma": [0.25, 0.5, 1.0], "draw": [0, 1, 2]}},
)  # fmt: skip
"""Methods, LOS along its epsilon and its epochs, its optimum at vanishing ridge, controls."""


def heads(cache: str) -> dict[str, object]:
    """The suite of the heads on one cache."""
    return {"strategies": list(STRATEGIES), "caches": [{"cache": cache}], "seeds": [0, 1, 2]}
