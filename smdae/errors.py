"""Errors that a user may meet, and the exit code of each.

Each failure is one line that names the file or option, what is wrong and, as a hint, what to do. The codes are an
interface: scripts may rely on them.

    0 done                      5 model file bad                9 part of a batch failed
    1 a bug of ours             6 fit diverged                129 SIGHUP
    2 usage or configuration    7 out of memory               130 SIGINT
    3 input unusable            8 device missing              141 SIGPIPE
    4 output refused           10 one of several processes    143 SIGTERM
                                  lost
                               11 a gate not met
"""

from collections.abc import Sequence


class SmdaeError(Exception):
    """A failure that a user can understand: one line, an optional hint, an exit code.

    Attributes:
        message: What is wrong, in one line.
        hint: What to do, if there is something.
        parts: One line for each failure, if there were several; else none.
    """

    code = 1

    def __init__(self, message: str, hint: str | None = None, parts: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.parts = tuple(parts)

    def without_hint(self) -> "SmdaeError":
        """Return the same failure without its hint."""
        return type(self)(self.message, None, self.parts)


class UsageError(SmdaeError):
    """An option or a configuration value that makes no sense."""

    code = 2


class InputError(SmdaeError):
    """A file that cannot be read, is not supported, or holds nothing usable."""

    code = 3


class OutputError(SmdaeError):
    """A file that must not or cannot be written."""

    code = 4


class ModelError(SmdaeError):
    """A model file that is missing, broken, or made for something else."""

    code = 5


class DivergedError(SmdaeError):
    """A fit that ran away, or an objective without a minimum on the data given."""

    code = 6


class DegenerateError(DivergedError):
    """A fit whose objective has collapsed to a value that no longer depends on the data."""


class MemoryLimitError(SmdaeError):
    """Not enough memory, after all that could be tried."""

    code = 7


class DeviceError(SmdaeError):
    """A compute device that was asked for and is not there."""

    code = 8


class BatchError(SmdaeError):
    """Some of many inputs failed; the others are done."""

    code = 9


class LostError(SmdaeError):
    """One of several processes that work together died or no longer answers."""

    code = 10


class GateError(SmdaeError):
    """A result that is not as good as was asked for."""

    code = 11
