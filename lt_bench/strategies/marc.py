"""MARC: margin calibration."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.trainable import Affine
from lt_bench.strategies.slots.weights import Inverse


class MARC(Strategy):
    """MARC: an affine correction of the stage-1 logits per class, 2 K parameters.

    ``l_i = w_y * CE(z'_i, y)``, ``z'_c = a_c z_c + b_c ||w_c||``, ``w_c`` of the loss = (1 / pi_c)^rho scaled to sum to K, the batch reduced by its sum of weights; a
    starts at 1, b at 0 (microsoft/robustlearn ``marc/models/MARCClassifier.py:15-30``). W and the bias of z are frozen; all folds into one linear layer.

    Official: ImageNet-LT, iNaturalist and Places-LT, and CIFAR at IF 100 and 200, where the code warms up from 0.05 to 0.1 over 800 of 2,000 iterations of 512.
    Two differences: the code steps its schedule after each epoch (``run_networks.py:442``), here it is one epoch ahead and the last epoch runs at rate 0; the code
    leaves out the smaller last batch of every epoch and the whole one before it (1,820 steps at CIFAR-100-LT IF 100), here they are trained on.
    """

    name = "marc"
    revision = 2
    family = "logit adjustment"
    paper = "Wang et al., Margin Calibration for Long-Tailed Visual Recognition, ACML 2022; code microsoft/robustlearn marc/"
    trains = "scale and shift per class"
    capturable = True
    recipe = Recipe(
        lr=0.1, weight_decay=5e-4, batch_size=512, iterations=2000, warmup_iterations=800, warmup_from=0.5, schedule_offset=1
    )  # fmt: skip
    official = (
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/CIFAR10_LT/MARC_100.yaml",
            "cifar10_lt",
            100,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/CIFAR10_LT/MARC_200.yaml",
            "cifar10_lt",
            200,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/CIFAR100_LT/MARC_100.yaml",
            "cifar100_lt",
            100,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/CIFAR100_LT/MARC_200.yaml",
            "cifar100_lt",
            200,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/ImageNet_LT/MARC.yaml",
            "imagenet_lt",
            None,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/iNaturalist18/MARC.yaml",
            "inat2018",
            None,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
        Official(
            "microsoft/robustlearn",
            "31580cd",
            "marc/config/Places_LT/MARC.yaml",
            "places_lt",
            None,
            "the schedule is one epoch ahead; trains on the last two batches of an epoch, which the code skips",
        ),
    )
    settings = {
        "imagenet_lt": {"lr": 0.05, "batch_size": 256, "epochs": 10, "warmup_epochs": 0},
        "inat2018": {"lr": 0.05, "weight_decay": 1e-4, "batch_size": 256, "epochs": 30, "warmup_epochs": 0},
        "places_lt": {"lr": 0.05, "batch_size": 128, "epochs": 10, "warmup_epochs": 0},
    }
    grid = {"lr": (0.01, 0.05, 0.5), "weight_decay": (0.0, 5e-4)}
    stackable = True

    rho: float = hyper(1.2, low=0, high=5, grid=(0.4, 0.8, 1.2, 1.5), help="power of the inverse frequency")
    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    trainable = Affine()
    weighting = Inverse("rho", "reduction")
