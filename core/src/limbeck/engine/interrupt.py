"""Ctrl-C: once to stop after the step, twice to stop at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Inside, the first SIGINT or SIGTERM sets `asked`; a second one raises KeyboardInterrupt at once.

    While `all_saved` is set there is no step to finish, and the first one raises as well.
    """

    def __init__(self, say: Any = None):
        self.asked = self.all_saved = False
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked or self.all_saved:
            raise KeyboardInterrupt
        self.asked = True
        if self._say is not None:
            self._say("  stopping after this step, to save (once more: stop at once)")
