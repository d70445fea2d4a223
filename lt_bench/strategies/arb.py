"""Attraction-repulsion balance."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.slots.transforms import BatchCounts


class ARB(Strategy):
    """ARB loss: balanced softmax by the class sizes of each batch, so that every pair of classes attracts and repels alike in it.

    ``l_i = -log(exp(z_y) / sum_c (m_c / m_y) exp(z_c)) = CE(z + log m, y)``, m_c the samples of class c in the batch; a class that is not in it does not push. With the sizes of
    the training set for m (``arb_loss_use_global_class_cnt`` in the code) it is `balanced_softmax`, exactly.

    Official code (lilydedbb/ARBLOSS ``train_stage1.py`` ARB_Loss) cuts logits at +-30, which is left out here, and counts the batch of each process, where here all processes'
    samples are counted. Published end to end, in one stage; the recipe for a head alone is inferred.
    """

    name = "arb"
    family = "logit adjustment"
    paper = "Xie et al., Neural Collapse Inspired Attraction-Repulsion-Balanced Loss for Imbalanced Learning, Neurocomputing 2023; code lilydedbb/ARBLOSS 85e9748"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5), "weight_decay": (2e-4, 5e-3), "batch_size": (64, 128, 512)}
    stackable = True

    transform = BatchCounts()
