"""Has anything become better or worse? One table of quality, speed, memory, scaling and start-up.

    python -m benchmarks [quality|speed|memory|scaling|start-up]... [--data ../shared/data]
                         [-o FIGURES.json] [--against FIGURES.json]

With `--against` each figure stands beside that of an earlier run, marked where it is worse than chance allows; the
exit code is then 1. The other scripts of this folder each answer one question at length: `--list` names them.
"""

import argparse
import ast
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

FORMAT = "smdae-benchmarks"


def questions() -> list[tuple[str, str]]:
    """Return the names of the scripts, each with its first line."""
    found = []
    for path in sorted(HERE.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        if text.split("\n")[0].endswith("?"):
            found.append((path.stem, text.split("\n")[0]))
    return found


def read(path: Path) -> dict[str, dict[str, float]]:
    """Return the figures of an earlier run by kind and name."""
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        return {kind: {f["name"]: f["value"] for f in figures} for kind, figures in content["kinds"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"cannot read the figures in '{path}': {error}") from None


def verdict(figure: dict, before: float | None) -> str:
    """Return in words how a figure has changed; empty if it is new or not compared, or within what chance allows."""
    if before is None or not figure["better"]:
        return ""
    gain = (figure["value"] - before) * (1 if figure["better"] == "higher" else -1)
    if abs(gain) <= figure["tolerance"] * abs(before):
        return "as before"
    return "better" if gain > 0 else "WORSE"


def main(arguments: Sequence[str] | None = None) -> int:
    from figures import KINDS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all by default")
    parser.add_argument("--data", type=Path, help="a folder with val/Set12 and val/McMaster")
    parser.add_argument("-o", "--output", type=Path, help="where to write the figures")
    parser.add_argument("--against", type=Path, help="figures of an earlier run")
    parser.add_argument("--list", action="store_true", help="name the other scripts and their questions")
    asked = parser.parse_args(arguments)
    if asked.list:
        for name, question in questions():
            print(f"{name:20}{question}")
        return 0
    unknown = [kind for kind in asked.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"there is no kind '{unknown[0]}'; there are {', '.join(KINDS)}")
    before = read(asked.against) if asked.against else {}

    found: dict[str, list[dict]] = {}
    worse = 0
    print(f"{'':44}{'now':>10}" + (f"{'before':>10}" if before else ""))
    for kind in asked.kinds or KINDS:
        print(kind)
        found[kind] = []
        for figure in map(asdict, KINDS[kind](asked.data)):
            found[kind].append(figure)
            old = before.get(kind, {}).get(figure["name"])
            said = verdict(figure, old)
            worse += said == "WORSE"
            shown = f"{old:10.3f}" if old is not None else " " * 10 * bool(before)
            print(
                f"  {figure['name']:42}{figure['value']:10.3f}{shown}  {figure['unit']:18}{said}".rstrip(), flush=True
            )
    if asked.output:
        content = {"format": FORMAT, "machine": platform.processor() or platform.machine(), "kinds": found}
        asked.output.write_text(json.dumps(content, indent=1) + "\n")
    if worse:
        print(f"{worse} figures are worse than chance allows")
    return int(worse > 0)


if __name__ == "__main__":
    raise SystemExit(main())
