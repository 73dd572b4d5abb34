"""Signals that end a run cleanly: an interrupt, and what schedulers send before they kill.

SIGINT, SIGTERM, SIGHUP and SIGUSR2 (a job's time is nearly over) raise `Interrupted` inside `interruptible`, at
once, or inside `deferred` when the block asks for them: training does so after each step and each pass of an
evaluation, and saves its state.
"""

import os
import signal
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2")
SIGNALS = [getattr(signal, n) for n in _NAMES if hasattr(signal, n)]  # Windows has only two of them


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        number: the signal.
        exit_code: 128 + the signal's number, as shells report it: 130, 143, 129 or 140.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number


class Deferral:
    """A signal held back by `deferred`.

    Attributes:
        signal: the first signal that arrived, or None.
    """

    signal: int | None = None

    def check(self) -> None:
        """Raise `Interrupted` if a signal arrived."""
        if self.signal is not None:
            raise Interrupted(self.signal)


_deferral: Deferral | None = None


AGAIN_SECONDS = 0.01


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _is_unheard(frame):
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    if _deferral is None or _deferral.signal is not None:  # the second signal ends a long step too
        raise Interrupted(number)
    _deferral.signal = number
    name = signal.Signals(number).name
    with suppress(OSError):  # print is not safe inside a handler
        os.write(
            2, f"\n{name}: stopping after this step or pass; repeat it to stop at once.\n".encode()
        )


def _is_unheard(frame: FrameType | None) -> bool:
    """Say whether Python would print and drop an exception here: it collects an object (`__del__`)."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def interruptible(anyway: Container[int] = ()) -> Iterator[None]:
    """Let SIGINT, SIGTERM, SIGHUP and SIGUSR2 raise `Interrupted` while the block runs.

    A signal that is ignored (nohup) or that another library handles is left to them; so are all signals
    outside the main thread, which alone receives them.

    Args:
        anyway: those of the signals to take over from a library for as long as the block runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    default = (signal.SIG_DFL, signal.default_int_handler)
    before = {n: signal.getsignal(n) for n in SIGNALS}
    ours = [n for n, handler in before.items() if handler in default or n in anyway]
    try:
        for number in ours:
            signal.signal(number, _on_signal)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def deferred() -> Iterator[Deferral]:
    """Hold the first signal back until the block calls `check` or ends; a second one raises at once."""
    global _deferral
    outer, _deferral = _deferral, Deferral()
    mine = _deferral
    try:
        yield mine
    finally:
        _deferral = outer
    mine.check()
