import pytest
import torch

from lt_bench.core import devices, resources


def group(folder, names, limit, used, stat):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (*zip(names, (limit, used), strict=True), ("memory.stat", stat)):
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("line", "top", "names", "field"),
    [
        ("0::/job/step", "", resources.VERSION_2, "inactive_file"),
        ("4:memory:/job/step", "memory", resources.VERSION_1, "total_inactive_file"),
    ],
)
def test_a_job_has_what_its_group_and_those_around_it_leave_copies_of_files_aside(line, top, names, field, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "MOUNTED", tmp_path / "mounted")
    monkeypatch.setattr(resources, "_available", lambda: 1 << 40)
    (tmp_path / "cgroup").write_text(f"9:cpu:/elsewhere\n{line}\n")
    job = tmp_path / "mounted" / top / "job"
    group(job, names, 1000, 700, f"anon 400\n{field} 300")
    group(job / "step", names, "max", 700, f"anon 400\n{field} 300")
    assert resources.free_memory() == 600
    group(job / "step", names, 800, 700, f"anon 400\n{field} 300")
    assert resources.free_memory() == 400


def test_without_groups_nothing_binds(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_available", lambda: 12_000)
    monkeypatch.setattr(resources, "PROCESS", tmp_path / "absent")
    assert resources.free_memory() == 12_000
    assert resources.core_quota() == float("inf")


@pytest.mark.parametrize(
    ("line", "top", "files", "unlimited"),
    [
        ("0::/job/step", "", {"cpu.max": "{} 100000"}, "max"),
        ("4:cpu,cpuacct:/job/step", "cpu,cpuacct", {"cpu.cfs_quota_us": "{}", "cpu.cfs_period_us": "100000"}, "-1"),
    ],
)
def test_a_container_has_the_cores_of_its_tightest_quota(line, top, files, unlimited, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "MOUNTED", tmp_path / "mounted")
    (tmp_path / "cgroup").write_text(f"9:memory:/elsewhere\n{line}\n")

    def give(folder, time):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text.format(time) + "\n")

    job = tmp_path / "mounted" / top / "job"
    give(job, unlimited)
    give(job / "step", unlimited)
    assert resources.core_quota() == float("inf")
    give(job, 250000)
    assert resources.core_quota() == 2.5
    give(job / "step", 50000)
    assert resources.core_quota() == 1


def test_processes_of_a_node_share_its_memory(monkeypatch):
    monkeypatch.setattr(devices, "free_memory", lambda: 8_000)
    assert [devices.feature_memory(torch.device("cpu"), n) for n in (1, 2, 4)] == [4_000, 2_000, 1_000]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6_000, 9_000))
    assert devices.feature_memory(torch.device("cuda", 1), 4) == 3_000  # every process has a GPU of its own


def test_usable_cores_are_within_the_quota(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    for quota, cores in ((float("inf"), 6), (2.5, 2), (1.0, 1)):
        monkeypatch.setattr(resources, "core_quota", lambda quota=quota: quota)
        assert resources.usable_cores() == cores
