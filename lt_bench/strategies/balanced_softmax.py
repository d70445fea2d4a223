"""Balanced softmax."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.transforms import LogCounts


class BalancedSoftmax(Strategy):
    """Cross-entropy on logits shifted by the log class counts, so that the plain logits fit a balanced prior.

    ``T(z)_c = z_c + log n_c``; equal to the logit-adjustment loss with tau 1 up to a constant shift, and to the ARB loss with the counts of the training set (Xie et
    al., Neurocomputing 2023; lilydedbb/ARBLOSS 85e9748 ``train_stage1.py`` ARB_Loss, whose logits are cut at 30). Decoupled setting of the official code
    (jiawei-ren/BalancedMetaSoftmax-Classification): a fresh classifier, instance-balanced batches of 512, lr 0.1, weight decay 5e-4, 2,000 iterations with
    cosine on CIFAR at IF 200, the only one there is a configuration for; the schedule is stepped before each epoch (``run_networks.py:328``), so the last one
    runs at rate 0. ImageNet-LT's 0.4 over 10 epochs is for ResNet-10. The code leaves out the last, smaller batch of every epoch; here it is trained on, and the
    fit ends at step 2,000.
    """

    name = "balanced_softmax"
    revision = 2
    family = "logit adjustment"
    paper = "Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, eq. 4; code jiawei-ren/BalancedMetaSoftmax-Classification"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=512, iterations=2000, schedule_offset=1)
    official = (
        Official(
            "jiawei-ren/BalancedMetaSoftmax-Classification", "34a61e4",
            "config/CIFAR10_LT/decouple_balanced_softmax_imba200.yaml", "cifar10_lt", 200, "trains on the smaller last batch of an epoch, which the code skips",
        ),
        Official(
            "jiawei-ren/BalancedMetaSoftmax-Classification", "34a61e4",
            "config/CIFAR100_LT/decouple_balanced_softmax_imba200.yaml", "cifar100_lt", 200, "trains on the smaller last batch of an epoch, which the code skips",
        ),
        Official(
            "jiawei-ren/BalancedMetaSoftmax-Classification", "34a61e4",
            "config/Places_LT/decouple_balanced_softmax.yaml", "places_lt", None, "trains on the smaller last batch of an epoch, which the code skips",
        ),
    )  # fmt: skip
    settings = {
        "imagenet_lt": {"lr": 0.4, "epochs": 10},
        "places_lt": {"lr": 0.02, "batch_size": 256, "epochs": 10},
    }
    grid = {"lr": (0.01, 0.1, 0.4, 1.0), "weight_decay": (5e-4, 5e-3, 2e-2)}
    stackable = True

    transform = LogCounts()
