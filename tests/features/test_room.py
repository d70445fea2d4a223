import pytest
import torch

from lt_bench.features import room


def group(folder, names, limit, used, stat):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (*zip(names, (limit, used), strict=True), ("memory.stat", stat)):
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("line", "top", "names", "field"),
    [("0::/job/step", "", room.VERSION_2, "inactive_file"), ("4:memory:/job/step", "memory", room.VERSION_1, "total_inactive_file")],
)
def test_a_job_has_what_its_group_and_those_around_it_leave_copies_of_files_aside(line, top, names, field, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(room, "MOUNTED", tmp_path / "mounted")
    (tmp_path / "cgroup").write_text(f"9:cpu:/elsewhere\n{line}\n")
    job = tmp_path / "mounted" / top / "job"
    group(job, names, 1000, 700, f"anon 400\n{field} 300")
    group(job / "step", names, "max", 700, f"anon 400\n{field} 300")
    assert room._left_in_group() == 600
    group(job / "step", names, 800, 700, f"anon 400\n{field} 300")
    assert room._left_in_group() == 400


def test_without_groups_nothing_binds(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "PROCESS", tmp_path / "absent")
    assert room._left_in_group() == 1 << 62


def test_processes_of_a_node_share_its_memory(monkeypatch):
    monkeypatch.setattr(room, "_available", lambda: 12_000)
    monkeypatch.setattr(room, "_left_in_group", lambda: 8_000)
    assert [room.room(torch.device("cpu"), n) for n in (1, 2, 4)] == [4_000, 2_000, 1_000]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6_000, 9_000))
    assert room.room(torch.device("cuda", 1), 4) == 3_000  # every process has a GPU of its own
