"""Watch over the first epoch of a compiled network, whose first step may take minutes: messages say so, and a signal ends the process."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

from lightning.pytorch import Callback, LightningModule, Trainer

EVERY = 30.0
"""Seconds between two lines."""
GRACE = 10.0
"""Seconds that the fit is given to end by itself after a signal."""
_ENDS = (signal.SIGINT, signal.SIGTERM)


class WatchCompilation(Callback):
    """Says every half minute of the first epoch that the network is being compiled, and ends the process where a signal does not.

    Lightning notes SIGTERM and acts on it at the end of a step, and Python acts on a signal when the main thread is back from C++: in a first step neither may
    come for minutes. The bytes of ``signal.set_wakeup_fd`` come at once, and a thread waits for them. Nothing is written in a first epoch before its end.

    Args:
        label: what is trained.
        says: whether to say anything.
    """

    def __init__(self, label: str, says: bool = True) -> None:
        self._label, self._says, self._over = label, says, threading.Event()
        self._pipe: tuple[int, int] | None = None
        self._before = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch."""
        self.begin()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching: after an epoch everything is compiled."""
        self.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching a fit that ended with an exception."""
        self.end()

    def begin(self) -> None:
        """Start the watching thread; only from the main thread, which alone can set the wakeup of signals."""
        if self._pipe is not None or self._over.is_set() or threading.current_thread() is not threading.main_thread():
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(self._pipe[0], time.monotonic()), daemon=True).start()

    def end(self) -> None:
        """Stop watching."""
        if self._pipe is not None and not self._over.is_set():
            self._over.set()
            signal.set_wakeup_fd(self._before)
            os.write(self._pipe[1], b"\0")
            os.close(self._pipe[1])

    def _watch(self, reading: int, begun: float) -> None:
        with os.fdopen(reading, "rb", buffering=0):
            self._wait(reading, begun)

    def _wait(self, reading: int, begun: float) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([reading], [], [], EVERY)
            received = [one for one in (os.read(reading, 64) if ready else b"") if one in _ENDS]
            if received and not self._over.wait(GRACE):
                self._print(
                    "interrupted while the network was compiled; the same command begins again, or goes on from the last checkpoint"
                )
                os._exit(128 + received[0])
            if not ready and self._says:
                seconds = time.monotonic() - begun
                self._print(f"{self._label}: compiling, {seconds:.0f} s in the first epoch; without --compiled it begins at once")

    def _print(self, line: str) -> None:
        print(f"lt-bench: {line}", file=sys.stderr, flush=True)  # noqa: T201
