"""Whether the files around the code agree with it: version, terms of the weights, bounds, addresses."""

import re
import subprocess
import sys
import tomllib

import pytest

import smdae
from smdae.cli.app import main
from smdae.files.model_file import BUNDLED, read
from tests.docs.blocks import ROOT, pages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODELS = sorted(BUNDLED.glob("*.safetensors"))
TERMS = (BUNDLED / "LICENSE.md").read_text()
PAGES = pages()


def test_the_version_is_in_one_place_and_cited_as_it_is():
    assert "version" in PROJECT["dynamic"]
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE) == [smdae.__version__]
    assert smdae.__version__ not in (ROOT / "conda" / "meta.yaml").read_text()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_has_its_terms_and_training_sets(path):
    row = next(line for line in TERMS.splitlines() if line.startswith(f"| {path.stem} |"))
    _, _, photographs, pictures, _ = (cell.strip() for cell in row.split("|"))
    about = read(path)[0]["about"]
    assert photographs == ("432 photographs" if "BSDS500" in about else "none")
    assert pictures == ("1,466" if "1,466" in about else "none")


def test_no_terms_and_no_recipe_without_a_model():
    named = re.findall(r"^\| (natural-[a-z-]+) \|", TERMS, re.MULTILINE)
    recipes = [path.stem for path in BUNDLED.glob("*.yaml")]
    assert sorted(named) == sorted(path.stem for path in MODELS) == sorted(recipes)


def test_the_bounds_of_conda_are_those_of_pip():
    recipe = (ROOT / "conda" / "meta.yaml").read_text()
    run = recipe[recipe.index("  run:") : recipe.index("test:")]
    of_conda = dict(re.findall(r"- ([\w-]+) >=([\d.]+)", run))
    renamed = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    of_pip = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups() for line in PROJECT["dependencies"])
    assert of_conda.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    assert of_conda == {renamed.get(name, name): bound for name, bound in of_pip.items()}


def test_every_requirement_has_a_lower_bound():
    done = subprocess.run([sys.executable, ROOT / "tools" / "oldest.py"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert {"torch==2.13.*", "scikit-image==0.24.*", "astropy==6.1.*", "zarr==3.1.*"} <= set(lines)
    assert len(lines) > len(PROJECT["dependencies"])


@pytest.mark.parametrize("command", ["fit", "denoise", "info", "compare"])
def test_help_shows_defaults_as_they_are(command, capsys):
    """Typer before 0.22 put a backslash before each bracket."""
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "[default: " in said
    assert "\\" not in said


def test_the_page_of_the_package_has_absolute_links_alone():
    code = "import setup; print(setup.page())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    links = re.findall(r"\]\(([^)]+)\)", done.stdout)
    at = f"{PROJECT['urls']['Repository']}/"
    assert all(link.startswith("https://") for link in links)
    assert f"{at}raw/v{smdae.__version__}/docs/pictures/photograph.png" in links
    assert f"{at}blob/v{smdae.__version__}/docs/benchmarks.md" in links


def test_the_address_is_in_two_files_and_the_same():
    address = PROJECT["urls"]["Repository"]
    assert all(url.startswith(address) for url in PROJECT["urls"].values())
    own = re.compile(r"https://github\.com/[\w-]+/smdae\b")
    found = {}
    pages = [*ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob(".github/**/*.*"), *ROOT.glob("conda/*")]
    for path in pages:
        if path.is_file() and (named := set(own.findall(path.read_text(errors="replace")))):
            found[path.relative_to(ROOT).as_posix()] = named
    assert found == {"pyproject.toml": {address}, "CITATION.cff": {address}}


def test_the_layers_of_the_architecture_are_those_that_imports_are_held_to():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "docs" / "development" / "architecture.md").read_text()
    table = page[page.index("| layer |") : page.index("The path of a noisy pixel")]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:] if line.startswith("|")]
    assert rows == [re.findall(r"smdae\.(\w+)", layer) for layer in contract]


def test_the_container_is_made_of_files_that_its_build_sees():
    seen = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    recipe = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE) for name in line.split()]
    assert sorted(copied) == sorted(seen)
    assert all((ROOT / name).exists() for name in copied)
    told = re.findall(r"--build-arg (\w+)", recipe + "".join(path.read_text() for path in PAGES))
    assert set(told) == set(re.findall(r"^ARG (\w+)", recipe, re.MULTILINE))


def test_the_extras_that_pages_and_hints_name_can_be_installed():
    extras = set(PROJECT["optional-dependencies"])
    files = [*PAGES, *(ROOT / "smdae").rglob("*.py")]
    named = {name for path in files for name in re.findall(r"(?:'\.|smdae)\[([a-z,]+)\]['\"`]", path.read_text())}
    assert {"raw", "baselines", "heic"} <= named <= extras
    table = (ROOT / "docs" / "install.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= extras - {"coverage", "package"}  # `make` alone takes these two


def test_pages_name_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    files = [*PAGES, ROOT / ".github" / "workflows" / "ci.yml", ROOT / "SECURITY.md", ROOT / "pyproject.toml"]
    lines = [
        line
        for path in files
        for line in re.findall(r"(?:(?<!`)`|^ {4}|run: )make ([a-z][a-z -]*)", path.read_text(), re.M)
    ]
    assert {word for line in lines for word in line.split()} <= targets


def test_the_sdist_has_every_folder_of_the_tree():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs the repository")
    folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line} - {".ci", "smdae"}
    assert folders <= set(re.findall(r"^graft (\S+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE))
