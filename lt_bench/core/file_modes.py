"""Files as a person's umask wants them."""

from __future__ import annotations

from pathlib import Path


def give_usual_mode(path: Path) -> None:
    """Give a file the permissions of any new file in its folder; safetensors writes for the owner alone.

    Those are found with a new file beside it, because asking for the umask means to change it, for every thread.
    """
    probe = path.with_name(f".{path.name}.mode")
    probe.touch()
    try:
        path.chmod(probe.stat().st_mode)
    finally:
        probe.unlink()
