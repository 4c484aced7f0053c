"""The place of this process among several, as `torchrun` and its like set it in the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from smdae.errors import UsageError


@dataclass(frozen=True)
class Place:
    """A process among several.

    Attributes:
        rank: Its number, from 0; the first one prints and writes for all.
        size: How many there are.
        local: Its number among those of this machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @classmethod
    def among(cls, environ: Mapping[str, str]) -> Self:
        """Return the place by RANK, WORLD_SIZE and LOCAL_RANK; that of a single process without one of the first two.

        Raises:
            UsageError: They make no sense.
        """
        rank, size = environ.get("RANK"), environ.get("WORLD_SIZE")
        if rank is None or size is None:
            return cls()
        local = environ.get("LOCAL_RANK", rank)
        try:
            place = cls(int(rank), int(size), int(local))
        except ValueError:
            place = cls(size=0)
        if not (0 <= place.rank < place.size and place.local >= 0):
            raise UsageError(
                f"RANK '{rank}' and WORLD_SIZE '{size}' in the environment do not fit together",
                "start with torchrun, or unset them",
            )
        return place
