"""W&B's offline files read back."""

import json
import struct
from pathlib import Path
from time import sleep

from wandb.proto import wandb_internal_pb2


def messages(path: Path):
    """The protobuf records of a finished run's .wandb file, of which W&B's service may write some a moment after the run has finished."""
    for _ in range(200):
        found = list(_records(path.read_bytes()))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            break
        sleep(0.05)
    return found


def _records(data: bytes):
    """LevelDB's log format after a 7-byte header, in blocks of 32 KiB."""
    position, parts = 7, b""
    while position + 7 <= len(data):
        if (room := 32768 - position % 32768) < 7:
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def items(updates):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}


def artifacts(found):
    """Name, type and whether the run is made of it, of the artifacts of a run's messages, but for the tables that W&B logs by itself."""
    logged = [message.request.log_artifact.artifact if message.HasField("request") else message.artifact for message in found]
    return [(one.name, one.type, one.use_after_commit) for one in logged if one.name and one.type != "run_table"]


def history(found):
    """The lines of a run's history."""
    return [items(message.history.item) for message in found if message.WhichOneof("record_type") == "history"]
