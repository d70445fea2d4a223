"""REPAIR: reranking by pairwise residual correction."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.repair import ShortlistRepair


class Repair(Strategy):
    """REPAIR: the ten largest stage-1 logits ranked anew, by an offset for each class and a linear function of how a class stands beside its rivals.

    ``r_y = g_y + a_y + 1/(k-1) sum over j != y of theta phi(y, j)``, ``g_c = z_c - tau log pi_c``; phi(y, j) has ``g_y - g_j``, the difference of ranks, that of log softmax over
    the shortlist and ``log((n_y + 1) / (n_j + 1))``. a and theta maximise the mean log softmax of r over validation images whose class is among the k, minus
    ``decay ||a||^2 + pair_decay ||theta||^2``. It needs validation images that the backbone has not seen, and learns from their labels.

    Paper against code (WGLab/REPAIR ``repair/core.py``, ``experiments/run_main_table.py``): the paper shrinks the offsets towards their mean by empirical Bayes; the
    code has that in ``repair/shrinkage.py``, and makes its tables with the penalty alone, as here. Its similarity of classes (WordNet, taxonomy) is left out. It learns
    from a part of the test images, here from validation images.
    """

    name = "repair"
    family = "logit adjustment"
    paper = "Wang et al., Beyond Logit Adjustment: A Residual Decomposition Framework for Long-Tailed Reranking, 2026; code WGLab/REPAIR"
    trains = "an offset per class and four pairwise weights"
    fitting = "none"
    official = (
        Official("WGLab/REPAIR", "94db208", "experiments/run_main_table.py ImageNet-LT", "imagenet_lt", None, "no similarity of classes; learned on validation images"),
        Official("WGLab/REPAIR", "94db208", "experiments/run_main_table.py iNaturalist", "inat2018", None, "no similarity of classes; learned on validation images"),
        Official("WGLab/REPAIR", "94db208", "experiments/run_main_table.py Places-LT", "places_lt", None, "learned on validation images"),
    )  # fmt: skip
    settings = {"inat2018": {"decay": 0.01, "pair_decay": 0.005, "rare": 0.3}, "places_lt": {"tau": 0.0, "rare": 0.3}}

    k: int = hyper(10, low=2, high=1000, help="classes of the shortlist; all where there are fewer")
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior that is taken off first")
    decay: float = hyper(1e-3, low=0, high=1e6, help="penalty on the offsets of classes")
    pair_decay: float = hyper(1e-3, low=0, high=1e6, help="penalty on the weights of pairwise features")
    rare: float = hyper(0.0, low=0, high=1, help="part of the images' weights that falls with the root of their class's size")

    at_inference = ShortlistRepair("k", "tau", "decay", "pair_decay", "rare")
