"""Re-training a fresh classifier on re-sampled batches."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy


class ClassBalancedSampling(Strategy):
    """Cross-entropy from a random head on batches drawn with replacement, every class equally likely.

    ``l_i = CE(z_i, y)`` with sample i drawn with probability 1 / (K n_y): the balanced sampler of Keke921/GCLLoss ``sampler.py``. ``crt`` differs by its class-aware
    cycles without replacement alone; the recipe is the one of ``crt`` for CIFAR (BagofTricks-LT) so that the sampler is all that differs, and is inferred.
    """

    name = "class_balanced_sampling"
    family = "re-sampling"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; sampler of Keke921/GCLLoss"
    sampler = "class_balanced"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30, schedule="step", milestones=(10, 20), decay=0.1, warmup_epochs=5)
    grid = {"lr": (0.01, 0.1, 0.2), "weight_decay": (5e-4, 5e-3, 2e-2)}
    stackable = True


class SqrtSampling(ClassBalancedSampling):
    """Cross-entropy from a random head, a class's probability proportional to the root of its size.

    ``l_i = CE(z_i, y)`` with P(y = c) = sqrt(n_c) / sum sqrt(n), with replacement (classifier-balancing ``feat_squareroot.yaml``, made for stage 1). The recipe is
    that of ``class_balanced_sampling`` and inferred.
    """

    name = "sqrt_sampling"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    sampler = "square_root"


class ProgressiveSampling(ClassBalancedSampling):
    """Cross-entropy from a random head, from instance-balanced batches in the first epoch to class-balanced ones in the last.

    ``l_i = CE(z_i, y)`` with P(y = c) = (1 - t) n_c / N + t / K, t from 0 to 1 over the epochs, with replacement (classifier-balancing ``feat_shift.yaml``, made for
    stage 1). The recipe is that of ``class_balanced_sampling`` and inferred.
    """

    name = "progressive_sampling"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    sampler = "progressive"


class EffectiveSampling(ClassBalancedSampling):
    """Cross-entropy from a random head, samples drawn with the weight of the inverse effective number of their class.

    ``l_i = CE(z_i, y)`` with sample i drawn with probability proportional to (1 - beta) / (1 - beta^n_y), beta 0.9999, with replacement (kaidic/LDAM-DRW
    ``cifar_train.py``, train rule Resample). On CIFAR that is close to class-balanced: n (1 - beta) / (1 - beta^n) is 1.03 for 500 samples, 1 for one. The recipe is
    that of ``class_balanced_sampling`` and inferred.
    """

    name = "effective_sampling"
    paper = "Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019 (code kaidic/LDAM-DRW), after Cui et al., CVPR 2019"
    sampler = "effective_number"
