from pathlib import Path
from types import SimpleNamespace

import pytest

from lt_bench.core.errors import UserError
from lt_bench.features import locate
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import find_cache, fitting_caches, home, known_caches, shipped
from lt_bench.features.manifest import read_manifest


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path))
    return tmp_path


def test_home(own_home, monkeypatch):
    assert home() == own_home
    monkeypatch.delenv("LT_BENCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(home()) == "/somewhere/lt-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/nobody")
    assert str(home()) == "/home/nobody/.cache/lt-bench"


def test_home_comes_before_shipped(own_home, make_cache):
    make_cache(own_home / "caches" / "b")
    make_cache(own_home / "caches" / "a")
    names = [path for path, _ in known_caches()]
    assert names[:2] == [own_home / "caches" / "a", own_home / "caches" / "b"]
    assert all(shipped("checkpoints") in path.parents for path in names[2:])
    assert len(names) > 2  # at least one comes with the suite


def test_the_shipped_caches_are_whole():
    """Every checksum of what comes with the suite, and that it says where it is from."""
    for path in shipped("checkpoints").glob("*/manifest.json"):
        cache = open_cache(path.parent)
        cache.verify()
        assert cache.manifest.origin
        assert cache.manifest.dataset.val_seen_by_backbone is False
        assert cache.has("val")
        assert cache.head() is not None


def test_find_by_path_name_and_key(own_home, make_cache):
    path = make_cache(own_home / "caches" / "folder", name="given-name")
    key = read_manifest(path).key
    for name in (str(path), "folder", "given-name", key, key[:8]):
        assert find_cache(name) == path
    with pytest.raises(UserError, match="no cache"):
        find_cache(key[:7])
    with pytest.raises(UserError, match=r"no cache 'other': .* \(given-name, "):
        find_cache("other")


def test_the_beginning_of_several_keys_is_refused(monkeypatch):
    alike = [(Path(name), SimpleNamespace(name=name, key=f"0123456789abcde{name}")) for name in "ab"]
    monkeypatch.setattr(locate, "known_caches", lambda: alike)
    assert find_cache("0123456789abcdeb") == Path("b")
    with pytest.raises(UserError, match="several caches begin with 01234567: 0123456789abcdea, 0123456789abcdeb; give more digits"):
        find_cache("01234567")


def test_of_the_stage1_seeds_that_come_with_the_suite_the_first_fits(own_home, make_cache):
    fitting = [path.name for path, _ in fitting_caches("cifar100_lt", 100)]
    assert fitting == ["cifar100_lt-if100-resnet10s2"]
    assert {manifest.dataset.split_hash for path, manifest in known_caches() if path.name.startswith(fitting[0])} == {"e9b61ce0f1d1dadb"}
    make_cache(own_home / "caches" / "mine-s1", dataset={"name": "cifar10_lt"})
    make_cache(own_home / "caches" / "mine", dataset={"name": "cifar10_lt"})
    assert len(fitting_caches("cifar10_lt")) == 2  # which of one's own is meant has to be said


def test_fitting(own_home, make_cache):
    make_cache(own_home / "caches" / "ten", dataset={"name": "cifar10_lt", "imbalance_factor": 10.0})
    make_cache(own_home / "caches" / "fifty", dataset={"name": "cifar10_lt", "imbalance_factor": 50.0})
    assert [manifest.name for _, manifest in fitting_caches("cifar10_lt")] == ["fifty", "ten"]
    assert [manifest.name for _, manifest in fitting_caches("cifar10_lt", 50)] == ["fifty"]
    assert fitting_caches("cifar10_lt", 50, "resnet32") == []
    assert [manifest.name for _, manifest in fitting_caches("cifar10_lt", 50, "invented")] == ["fifty"]


def test_a_damaged_cache_is_named_and_does_not_hide_the_others(own_home, make_cache, capsys):
    path, whole = (make_cache(own_home / "caches" / name) for name in ("broken", "whole"))
    (path / "manifest.json").write_text("{")
    for _ in range(2):
        assert whole in [found for found, _ in known_caches()]
        assert path not in [found for found, _ in known_caches()]
    assert find_cache("whole") == whole
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "left out" in said
    assert "broken/manifest.json: damaged manifest" in said
    with pytest.raises(UserError, match=r"broken/manifest\.json: damaged manifest"):
        find_cache("broken")


def test_only_the_first_process_names_a_damaged_cache(own_home, make_cache, capsys, monkeypatch):
    path = make_cache(own_home / "caches" / "broken")
    (path / "manifest.json").write_text("{ ")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert path not in [found for found, _ in known_caches()]
    assert capsys.readouterr().err == ""


def test_a_cache_or_a_place_that_cannot_be_read_is_named(own_home, make_cache, capsys, close):
    make_cache(own_home / "caches" / "a")
    for closed in ("a", ""):
        locate._say_left_out.cache_clear()
        close(own_home / "caches" / closed)
        assert all(shipped("checkpoints") in path.parents for path, _ in known_caches())
        assert f"left out {own_home / 'caches' / closed}: cannot be read (Permission denied)" in capsys.readouterr().err
        (own_home / "caches" / closed).chmod(0o755)
