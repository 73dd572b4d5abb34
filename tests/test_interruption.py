"""Signals: raised at once, held back while something must be finished, left to others who handle them."""

import os
import signal
import threading
import time

import pytest

from iapt.interruption import Interrupted, deferred, interruptible


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR2", 140)]
)
def test_a_signal_raises_with_the_exit_code_that_shells_give_it(name: str, code: int):
    with pytest.raises(Interrupted) as caught, interruptible():
        send(getattr(signal, name))
    assert (str(caught.value), caught.value.exit_code) == (name, code)


def two_signals(done: list[str], *, checked: bool) -> None:
    with interruptible(), deferred() as deferral:
        send(signal.SIGTERM)
        done.append("step")
        if checked:
            deferral.check()
        else:
            send(signal.SIGTERM)
        done.append("never")


@pytest.mark.parametrize("checked", [True, False])
def test_a_deferred_signal_waits_for_a_check_and_a_second_one_does_not(checked: bool):
    done: list[str] = []
    with pytest.raises(Interrupted, match="SIGTERM"):
        two_signals(done, checked=checked)
    assert done == ["step"]


def one_signal(error: Exception | None) -> None:
    with interruptible(), deferred():
        send(signal.SIGHUP)
        if error:
            raise error


def test_a_deferred_signal_that_nobody_checked_raises_at_the_end_unless_an_error_does():
    with pytest.raises(Interrupted):
        one_signal(None)
    with pytest.raises(ZeroDivisionError):
        one_signal(ZeroDivisionError())


def test_handlers_are_put_back_and_those_of_others_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with interruptible():
            send(signal.SIGHUP)
            send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_runs_undisturbed():
    done: list[bool] = []

    def work() -> None:
        with interruptible():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_signal_while_python_collects_an_object_is_not_lost():
    class Collected:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    def collect() -> None:
        with interruptible():
            Collected()
            time.sleep(5)

    with pytest.raises(Interrupted):
        collect()
