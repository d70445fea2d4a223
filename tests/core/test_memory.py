import torch

from lt_bench.core import memory as room


def test_processes_of_a_node_share_its_memory(monkeypatch):
    monkeypatch.setattr(room, "_available", lambda: 12_000)
    monkeypatch.setattr(room, "memory_left", lambda: 8_000)
    assert [room.room(torch.device("cpu"), n) for n in (1, 2, 4)] == [4_000, 2_000, 1_000]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6_000, 9_000))
    assert room.room(torch.device("cuda", 1), 4) == 3_000  # every process has a GPU of its own
