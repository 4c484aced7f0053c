"""Suggestions for misspelt names: the nearest of those there are, if it is within two letters."""

from collections.abc import Iterable

MAX_DISTANCE = 2  # letters inserted, deleted or changed


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest to a misspelt one; None if none is near enough."""
    found = min(((distance(name, other), other) for other in known), default=(MAX_DISTANCE + 1, ""))
    # Two changes in a name of three letters would match nearly anything.
    return found[1] if found[0] <= min(MAX_DISTANCE, max(1, len(name.strip("-")) // 2)) else None


def distance(a: str, b: str) -> int:
    """Return how many letters must be inserted, deleted, changed or swapped with the next to turn a into b.

    This is the restricted distance of Damerau and Levenshtein.
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        older, before, row = before, row, [i + 1]
        for j, y in enumerate(b):
            best = min(before[j + 1] + 1, row[j] + 1, before[j] + (x != y))
            if i and j and x == b[j - 1] and a[i - 1] == y:
                best = min(best, older[j - 1] + 1)
            row.append(best)
    return row[-1]
