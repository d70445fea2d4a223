"""Order in which the metrics of two records are shown."""

from lt_bench.results.differences import Differences


def test_metrics_that_differ_come_by_the_relative_size_of_the_difference():
    metrics = {
        "same": (0.5, 0.5),
        "small": (10.0, 10.5),
        "large": (0.02, 0.01),
        "sign": (-0.1, 0.1),
        "one": (None, 0.5),
        "none": (None, None),
    }
    assert list(Differences({}, metrics).metrics_that_differ) == ["sign", "large", "small", "one"]
