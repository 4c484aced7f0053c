"""What does README say of quality, of all that the benchmarks' page says?

    python -m benchmarks.readme_table

Prints the table of README, made of rows of the tables `real` and `white` of docs/benchmarks.md: nothing is measured.
"""

from collections.abc import Mapping

from benchmarks.markdown_table import head, row
from benchmarks.place import ROOT
from benchmarks.tables import blocks_of

LEVEL = "25"  # the column of `white` that is shown
# The sets of white noise: network, the small one, and what stands beside them.
WHITE = {"Set12": ("natural-gray", "BM3D"), "McMaster": ("natural-color", "CBM3D")}
REAL = {"PolyU26": "photographs, two cameras (PolyU)", "FMD6": "fluorescence micrographs (FMD)"}


def cells(table: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table by the first cell of their row and the head of their column."""
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return {first: dict(zip(names[1:], rest, strict=True)) for first, *rest in rows}


def table(of: Mapping[str, str]) -> str:
    """Return the table of README, of the tables `real` and `white`."""
    real, white = cells(of["real"]), cells(of["white"])
    lines = [head("pictures", "noisy", "`smdae denoise`", "`--fast`", "for comparison")]
    for name, words in REAL.items():
        label = next(label for label in real if label.startswith(name))
        found = real[label]
        first = f"{found['pictures']} {words}{label.removeprefix(name)}"
        lines.append(row(first, found["noisy"], found["`smdae denoise`"], found["`--fast`"], ""))
    for name, (network, other) in WHITE.items():
        noisy, large, small, published = (
            white[f"{name}: {method}"][LEVEL].split(" / ")[0]
            for method in ("noisy", f"`{network}`", f"`{network}-small`", f"{other}, as published")
        )
        words = f"{name}, white noise of sigma {LEVEL}, given"
        lines.append(row(words, noisy, large, small, f"{published} {other}, as published"))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table({block.name: block.table for block in blocks_of(ROOT / "docs" / "benchmarks.md")}))
