from benchmarks.ours.rivals import OURS, POINTS, RIVALS, points
from lt_bench.strategies.registry import find


def test_every_strategy_has_the_same_budget_of_points_that_it_accepts():
    for name, grid in (OURS | RIVALS).items():
        chosen = points(grid)
        assert len(chosen) == (3 if name == "ncm" else POINTS), name
        assert len({tuple(point.values()) for point in chosen}) == len(chosen)
        declared = {one.name: one for one in find(name).hyperparameters}
        for point in chosen:
            resolved = find(name).resolve("cifar100_lt", 100, point)
            assert {key: resolved[key] for key in point} == point
            for key, value in point.items():
                if key in declared:
                    declared[key].check(name, value)


def test_points_are_the_same_every_time_and_of_the_product():
    grid = OURS["scatter_prototypes"]
    assert points(grid) == points(grid)
    assert all(point[key] in grid[key] for point in points(grid) for key in grid)
