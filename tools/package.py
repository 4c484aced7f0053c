"""Build wheel and sdist, check them, and try both in clean environments.

    python tools/package.py [--no-sdist-tests] [TESTS...]

1. The sdist is built from the tree and the wheel from the sdist, into dist/, and twine looks at both.
2. The sdist has every file of the tree, and the wheel every file of the package in the sdist, weights, terms and tables
   among them; no link on its page is relative.
3. The wheel is installed into a new environment, and the commands of README.md are run by it in a folder with sample
   files, without the tree; fits take a few steps.
4. The sdist is unpacked, installed with its extra `test` into the same environment, and the TESTS are run from there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"))
NOT_SHIPPED = (".ci/", "shared/")

sys.path.insert(0, str(ROOT))


def run(*command: object, cwd: Path = ROOT, more: Mapping[str, str] | None = None) -> None:
    """Run a command that must succeed; what it says goes where ours does."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SMDAE_", "PYTHON"))}
    print("+", *command, flush=True)
    began = time.monotonic()
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=kept | dict(more or {}), stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"it ended with {done.returncode}")
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


def build() -> tuple[Path, Path]:
    """Return a new wheel and a new sdist."""
    for left in (DIST, ROOT / "build"):
        shutil.rmtree(left, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    wheel, sdist = next(DIST.glob("*.whl")), next(DIST.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    return wheel, sdist


def files_in(sdist: Path) -> set[str]:
    """Return the paths of the files in an sdist, from its root."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def look_into_wheel(wheel: Path, sdist: Path) -> None:
    """Fail where a wheel lacks something of the package, or its page has a link that leads nowhere."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        page = next(archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    missing = sorted(name for name in files_in(sdist) - names if name.startswith("smdae/"))
    stray = [name for name in names if not name.startswith(("smdae/", "smdae-"))]
    recipes = {name[:-5] for name in names if name.startswith("smdae/weights/") and name.endswith(".yaml")}
    models = {name[:-12] for name in names if name.endswith(".safetensors")}
    relative = re.findall(r"\]\((?!https://|#)([^)]*)\)", page)
    for what, found in (("lacks", missing), ("has besides", stray), ("has relative links to", relative)):
        if found:
            raise SystemExit(f"the wheel {what} {', '.join(found)}")
    if recipes != models:
        raise SystemExit(f"recipes without weights, or weights without recipes: {recipes ^ models}")


def look_into_sdist(sdist: Path) -> None:
    """Fail where a file of the tree is not in the sdist."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        print("  no repository: that the sdist has all files is not looked at")
        return
    tree = {name for name in listed.stdout.splitlines() if (ROOT / name).exists() and not name.startswith(NOT_SHIPPED)}
    if missing := sorted(tree - files_in(sdist)):
        raise SystemExit(f"the sdist lacks {', '.join(missing)}")


def try_wheel(wheel: Path, python: Path, folder: Path) -> None:
    """Install a wheel, and run the commands of README.md in a folder of sample files."""
    from tests.docs.blocks import blocks_of
    from tests.docs.workplace import fill

    run(python, "-m", "pip", "install", "--quiet", *CONSTRAINTS, wheel)
    place = folder / "place"
    place.mkdir()
    fill(place)
    home = "import smdae, sys; sys.exit(not smdae.__file__.startswith(sys.prefix))"
    run(python, "-c", home, cwd=place)
    path = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "SMDAE_MAX_STEPS": "3"}
    for block in blocks_of(ROOT / "README.md"):
        if block.mark != "not run" and block.language in ("bash", "console"):
            for command, _ in block.commands:
                run("bash", "-o", "pipefail", "-c", command, cwd=place, more=path)


def try_sdist(sdist: Path, python: Path, folder: Path, tests: Sequence[str]) -> None:
    """Unpack an sdist, install it, and run its tests where it lies."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    tree = next(path for path in folder.iterdir() if path.name.startswith("smdae-"))
    run(python, "-m", "pip", "install", "--quiet", *CONSTRAINTS, "--force-reinstall", "--no-deps", tree)
    run(python, "-m", "pip", "install", "--quiet", *CONSTRAINTS, f"{tree}[test]")
    wanted = [path.relative_to(tree) for name in tests for path in sorted(tree.glob(name))]
    run(python, "-m", "pytest", "-m", "not slow and not gpu", "--maxfail=20", *wanted, cwd=tree)


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tests", nargs="*", default=["tests"], help="folders and files of the tests of the sdist")
    parser.add_argument("--no-sdist-tests", action="store_true", help="leave step 4 out")
    asked = parser.parse_args()
    wheel, sdist = build()
    look_into_sdist(sdist)
    look_into_wheel(wheel, sdist)
    with tempfile.TemporaryDirectory(prefix="smdae-package-") as name:
        folder = Path(name)
        venv.create(folder / "environment", with_pip=True)
        python = folder / "environment" / "bin" / "python"
        try_wheel(wheel, python, folder)
        if not asked.no_sdist_tests:
            try_sdist(sdist, python, folder, asked.tests)
    print(f"{wheel.name} and {sdist.name} are in {DIST.name}/")


if __name__ == "__main__":
    main()
