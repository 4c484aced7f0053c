"""Signals that arrive at an awkward moment are still stops."""

import pytest

from smdae.cli.interrupts import Terminated, unwrapped


class Stopping:
    """An attribute in whose naming a signal arrives."""

    def __init__(self, stop):
        self.stop = stop

    def __set_name__(self, owner, name):
        raise self.stop


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Terminated()])
def test_a_signal_while_a_class_is_made_is_a_stop(stop):
    with pytest.raises(type(stop)), unwrapped():
        type("Named", (), {"attribute": Stopping(stop)})


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="other"), unwrapped():
        raise RuntimeError("other") from ValueError("of its own")
