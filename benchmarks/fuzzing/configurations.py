"""Damaged and crafted configurations: settings, or a refusal in one line."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.fuzzing.damage import damaged, refused
from smdae.cli.configuration import resolve
from smdae.errors import UsageError

SEED = """# a fit
objective: dsm
model: unet
sigma: [1, 60]
patch-size: 64
growth: [96, 128]
batch: 16
lr: 6.0e-3
max_steps: 1e3
max-time: 10m
clipped: 0.5
precision: auto
half: true
about: "pictures, 'quoted'"
seed: 3
"""
VALUES = [
    *("", "~", "yes", "no", "true", "1", "-1", "0", "1e309", "-1e309", ".nan", ".inf", "1e-320", "9" * 5000, "0x10"),
    *("12:30:45", "2001-01-01", "[]", "[1", "[[1, 2], 3]", "{a: 1}", "*a", "&a [1, *a]", "!!python/object:os.system x"),
    *("!!binary aGk=", "|\n  text", ">-\n  more", "'it''s'", '"\\UFFFFFFFF"', "../../x", "/dev/null", "? x", "- x"),
    *("[" * 2000, "\x1b[31m", "\0", "\u2028", "a" * 70_000, "dsm", "energy", "silu", "1h", "5-55", "auto"),
]


def seeds() -> dict[str, bytes]:
    """Return a whole configuration."""
    return {"whole": SEED.encode()}


def example(number: int) -> tuple[str, bytes]:
    """Return configuration number so and so, after the name of what was done to it."""
    chance = Random(number)
    lines = SEED.splitlines()
    if number % 2:
        return "bytes", damaged(SEED.encode(), chance)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(1, len(lines))
        name = lines[at].partition(":")[0]
        line = chance.choice([f"{name}: {chance.choice(VALUES)}", f"{chance.choice(VALUES)}: 1", chance.choice(VALUES)])
        lines[at : at + chance.choice([0, 1, 1, 1])] = [line] if chance.random() < 0.8 else []
    return "values", "\n".join(lines).encode("utf-8", "surrogatepass")


def outcome(file: bytes) -> str:
    """Return what the configuration comes to, in a word; raise an AssertionError if a promise is broken."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(file)
        try:
            resolve({}, {}, path)
        except UsageError as error:
            return refused(error, "")
    return "read"
