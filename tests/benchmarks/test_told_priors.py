"""The stage-1 head that is told a prior, beside heads that are not."""

from __future__ import annotations

import numpy as np
import pytest

import lt_bench as lt
from benchmarks import told_priors
from lt_bench.data.priors import tail_prior


@pytest.mark.parametrize("backward", [False, True])
def test_accuracies_and_their_difference_are_those_of_the_arrays(small_cache, backward):
    cache = lt.open_cache(small_cache)
    counts, test, head = np.asarray(cache.manifest.dataset.train_counts), cache.split("test"), cache.head()
    labels = test.labels.numpy()
    logits = (test.view("plain").float() @ head.weight.T + head.bias).numpy()
    shares = tail_prior(counts, 50, backward=backward)
    told = (logits - np.log(counts / counts.sum()) + np.log(shares)).argmax(1) == labels
    joint = logits.argmax(1) == labels
    of_told, of_joint = (100 * sum(share * one[labels == k].mean() for k, share in enumerate(shares)) for one in (told, joint))
    text = told_priors.report(cache, ("joint", "logit_adjustment"), seeds=(0,))
    section = text.split("\n## ")[1 + backward]
    assert f"The stage-1 head that is told: {of_told:.2f}." in section
    (row,) = (line for line in section.splitlines() if line.startswith("| `joint`"))
    _, _, accuracy, difference, _, _ = row.split("|")
    assert float(accuracy) == pytest.approx(of_joint, abs=0.006)
    assert float(difference.split("±")[0]) == pytest.approx(of_told - of_joint, abs=0.011)
    assert float(difference.split("±")[1]) > 0
