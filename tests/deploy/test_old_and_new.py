import numpy as np

from lt_bench.deploy.old_and_new import _comparison
from lt_bench.leaderboard.objective.objective import Objective


def test_a_class_that_is_gone_costs_the_most_wherever_it_is_predicted():
    labels = np.array([0, 1, 2, 2, 2, 2])
    by_cost = Objective("cost", costs=1.0 - np.eye(3))
    earlier, new = np.array([0, 1, -1, -1, -1, -1]), labels
    one = _comparison("all", by_cost, labels, [earlier, new], np.zeros(6, bool), 3)
    assert (one.earlier, one.new) == (4 / 6, 0.0)
