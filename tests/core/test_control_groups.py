import pytest

from lt_bench.core import control_groups


def group(folder, names, limit, used, stat):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (*zip(names, (limit, used), strict=True), ("memory.stat", stat)):
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("line", "top", "names", "field"),
    [
        ("0::/job/step", "", control_groups.VERSION_2, "inactive_file"),
        ("4:memory:/job/step", "memory", control_groups.VERSION_1, "total_inactive_file"),
    ],
)
def test_a_job_has_what_its_group_and_those_around_it_leave_copies_of_files_aside(line, top, names, field, tmp_path, monkeypatch):
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "MOUNTED", tmp_path / "mounted")
    (tmp_path / "cgroup").write_text(f"9:cpu:/elsewhere\n{line}\n")
    job = tmp_path / "mounted" / top / "job"
    group(job, names, 1000, 700, f"anon 400\n{field} 300")
    group(job / "step", names, "max", 700, f"anon 400\n{field} 300")
    assert control_groups.memory_left() == 600
    group(job / "step", names, 800, 700, f"anon 400\n{field} 300")
    assert control_groups.memory_left() == 400


def test_without_groups_nothing_binds(tmp_path, monkeypatch):
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "absent")
    assert control_groups.memory_left() == 1 << 62
    assert control_groups.quota() == float("inf")


@pytest.mark.parametrize(
    ("line", "top", "files", "unlimited"),
    [
        ("0::/job/step", "", {"cpu.max": "{} 100000"}, "max"),
        ("4:cpu,cpuacct:/job/step", "cpu,cpuacct", {"cpu.cfs_quota_us": "{}", "cpu.cfs_period_us": "100000"}, "-1"),
    ],
)
def test_a_container_has_the_cores_of_its_tightest_quota(line, top, files, unlimited, tmp_path, monkeypatch):
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "MOUNTED", tmp_path / "mounted")
    (tmp_path / "cgroup").write_text(f"9:memory:/elsewhere\n{line}\n")

    def give(folder, time):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text.format(time) + "\n")

    job = tmp_path / "mounted" / top / "job"
    give(job, unlimited)
    give(job / "step", unlimited)
    assert control_groups.quota() == float("inf")
    give(job, 250000)
    assert control_groups.quota() == 2.5
    give(job / "step", 50000)
    assert control_groups.quota() == 1
