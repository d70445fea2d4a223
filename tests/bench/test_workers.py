"""Worker processes: every unit is done once, a dead worker is noticed, none outlives the block."""

import os
import signal
import threading
import time

import pytest

from lt_bench.bench.workers import Death, Telling, Workers

ENVIRONMENTS = [{"LT_WORKER": "a"}, {"LT_WORKER": "b"}]


class Steps(Telling):
    """A unit is a number of steps."""

    def __call__(self, unit):
        for step in range(unit):
            self.tell((step + 1) / unit)
        return unit


def test_units_are_shared_and_each_worker_has_its_environment():
    units = [f"(__import__('time').sleep(0.3), __import__('os').environ['LT_WORKER'], {number})[1:]" for number in range(6)]
    begun = []
    with Workers(eval, ENVIRONMENTS, lambda number, unit: begun.append((number, unit))) as workers:
        outcomes = list(workers.outcomes(units))
    assert sorted(outcome[1] for *_, outcome in outcomes) == list(range(6))
    assert {(number, outcome[0]) for number, _, outcome in outcomes} == {(0, "a"), (1, "b")}
    assert sorted(begun) == sorted((number, unit) for number, unit, _ in outcomes)
    assert "LT_WORKER" not in os.environ


def test_a_dead_worker_is_replaced_and_its_unit_done_again(tmp_path):
    flag = tmp_path / "died"
    once = f"'done' if __import__('os').path.exists({str(flag)!r}) else (open({str(flag)!r}, 'x'), __import__('os').kill(__import__('os').getpid(), 9))"
    units = ["1", once, "__import__('os')._exit(3)", "2", "3"]
    with Workers(eval, ENVIRONMENTS) as workers:
        outcomes = {unit: outcome for _, unit, outcome in workers.outcomes(units)}
    assert outcomes == {"1": 1, "2": 2, "3": 3, once: "done", units[2]: "exit code 3"}
    assert isinstance(outcomes[units[2]], Death)


def test_an_interrupt_ends_all_workers(tmp_path):
    files = [tmp_path / name for name in "ab"]
    units = [f"(open({str(file)!r}, 'w').write(str(__import__('os').getpid())), __import__('time').sleep(600))" for file in files]

    def interrupt():
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt), Workers(eval, ENVIRONMENTS) as workers:  # noqa: PT012
        thread.start()
        list(workers.outcomes(units))
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_a_worker_takes_no_module_of_the_current_folder_for_pythons(tmp_path, monkeypatch):
    for name in ("random", "csv", "pickle", "socket", "tempfile"):
        (tmp_path / f"{name}.py").write_text(f"open('ran-{name}', 'w').close()\nraise ImportError\n")
    monkeypatch.chdir(tmp_path)
    with Workers(eval, [{}]) as workers:
        assert [outcome for _, _, outcome in workers.outcomes(["__import__('glob').glob('ran-*')"])] == [[]]


def test_workers_tell_how_far_their_units_are():
    shares_of = []
    with Workers(Steps(), [{}], reaches=lambda number, share: shares_of.append((number, share))) as workers:
        assert [outcome for *_, outcome in workers.outcomes([2, 4])] == [2, 4]
    assert shares_of == [(0, 0.5), (0, 1.0), (0, 0.25), (0, 0.5), (0, 0.75), (0, 1.0)]
