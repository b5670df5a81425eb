"""The first signal asks for a stop and says so; the second one ends the process."""

import signal
from types import SimpleNamespace

import pytest

from danlu.app.console import signals
from danlu.app.console.signals import Interrupt


@pytest.mark.parametrize("quiet", [False, True])
def test_the_first_signal_asks_for_a_stop_and_says_so_unless_quiet(quiet, monkeypatch):
    written = []
    monkeypatch.setattr(signals, "os", SimpleNamespace(write=lambda file, text: written.append((file, text))))
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(quiet) as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
    assert signal.getsignal(signal.SIGINT) == before
    assert [file for file, _ in written] == ([] if quiet else [2])
    assert all(b"Finishing the round and saving. Press Ctrl-C again" in text for _, text in written)


def test_the_second_signal_ends_the_process_with_its_number(monkeypatch):
    codes = []
    monkeypatch.setattr(signals, "os", SimpleNamespace(write=lambda file, text: None, _exit=codes.append))
    with Interrupt(quiet=True):
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
    assert codes == [128 + signal.SIGTERM]
