"""Completion, exit codes in the help, versions, suggestions, sizes, and options from files and variables."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smdae import __version__
from smdae.cli.app import main
from smdae.cli.options import bytes_of
from smdae.errors import SmdaeError, UsageError
from smdae.memory import left
from tests.tiny import complaint, encoded, everything_below, gray, model_bytes


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "a.png").write_bytes(encoded(gray()))
    return bare


def script(shell, capsys) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def run(*call: str) -> str:
    return subprocess.run(call, capture_output=True, text=True, check=True, timeout=60).stdout


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell} here")


@needs("bash")
@pytest.mark.parametrize(
    ("line", "has", "lacks"),
    [
        (["smdae", "den"], {"denoise"}, {"fit"}),
        (["smdae", ""], {"denoise", "fit", "info", "compare", "models", "completion", "--version"}, set()),
        (["smdae", "denoise", "--st"], {"--step-size", "--steps", "--strength", "--stride"}, {"--sigma"}),
        (["smdae", "denoise", "--sampler", "la"], {"langevin"}, {"ode"}),
        (["smdae", "denoise", "-m", "natural-g"], {"natural-gray", "natural-gray-small"}, {"natural-color"}),
        (["smdae", "fit", "--model", ""], {"energy", "unet"}, {"natural-gray"}),
        (["smdae", "denoise", "a"], set(), {"--sigma", "denoise"}),
    ],
)
def test_bash_completes(line, has, lacks, capsys):
    Path("c.bash").write_text(script("bash", capsys))
    words = " ".join(f"'{word}'" for word in line)
    ask = f'source ./c.bash; COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _smdae; echo "${{COMPREPLY[@]}}"'
    found = set(run("bash", "--norc", "-c", ask).split())
    assert has <= found
    assert not lacks & found


@needs("fish")
def test_fish_completes(capsys):
    Path("c.fish").write_text(script("fish", capsys))
    ask = "source ./c.fish; complete -C 'smdae den'; complete -C 'smdae denoise --sampler la'"
    found = [line.split("\t")[0] for line in run("fish", "--no-config", "-c", ask).splitlines()]
    assert found == ["denoise", "langevin"]


ZSH = """
compdef() { :; }
_describe() { print -l -- "${(@P)${@[-1]}}"; }
compadd() { print -l -- "${(@P)${@[-1]}}"; }
_files() { print FILES; }
source ./c.zsh
words=(smdae den); CURRENT=2; _smdae
print '=='
words=(smdae denoise --sampler ''); CURRENT=4; _smdae
print '=='
words=(smdae denoise --s); CURRENT=3; _smdae
print '=='
words=(smdae denoise --mask ''); CURRENT=4; _smdae
"""


@needs("zsh")
def test_zsh_completes(capsys):
    Path("c.zsh").write_text(script("zsh", capsys))
    commands, steppers, options, files = run("zsh", "-f", "-c", ZSH).split("==\n")
    assert "denoise:Denoise images." in commands.splitlines()
    assert "langevin" in steppers.splitlines()
    assert any(line.startswith("--sigma:") for line in options.splitlines())
    assert files == "FILES\n"


def test_an_unknown_shell_is_told_those_there_are(capsys):
    assert main(["completion", "basch"]) == 2
    text = complaint(capsys.readouterr().err)
    assert "bash, zsh, fish" in text
    assert "did you mean bash?" in text


def codes() -> set[int]:
    kinds, found = [SmdaeError], set()
    while kinds:
        kind = kinds.pop()
        found.add(kind.code)
        kinds += kind.__subclasses__()
    return found


@pytest.mark.parametrize("arguments", [[], ["fit"], ["denoise"], ["compare"], ["info"], ["models"]])
def test_help_tells_every_exit_code(arguments, capsys):
    assert main([*arguments, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    told = text[text.index("Exit codes:") :]
    for code in codes() | {0, 129, 130, 141, 143}:
        assert re.search(rf"\b{code}\b", told)


def test_versions_as_json(capsys):
    assert main(["--version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["smdae"] == __version__
    assert found["torch"] == torch.__version__ or found["torch"] in torch.__version__
    assert found["devices"][0] == "cpu"
    assert found["models"]["natural-gray"].startswith("natural-gray@")
    assert main(["--json"]) == 2


@pytest.mark.parametrize(
    ("option", "suggested"),
    [
        ("--sgma", "--sigma"),
        ("--sigam", "--sigma"),
        ("--recursve", "--recursive"),
        ("--frames", None),
        ("--crops", None),
        ("--gamma", None),
        ("--qality", "--quality"),
    ],
)
def test_only_a_near_option_is_suggested(option, suggested, capsys):
    assert main(["denoise", "a.png", option, "3"]) == 2
    text = complaint(capsys.readouterr().err)
    assert f"no such option {option}" in text
    assert (f"did you mean {suggested}?" in text) if suggested else ("did you mean" not in text)


# Options from files and variables


def printed(capsys, *arguments) -> dict[str, tuple[str, str]]:
    assert main([*arguments, "--print-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    parts = [line.partition("  # ") for line in lines]
    return {part[0].partition(": ")[0]: (part[0].partition(": ")[2], part[2]) for part in parts}


def test_an_option_goes_before_its_variable_that_before_the_file_and_that_before_the_default(monkeypatch, capsys):
    Path("c.yaml").write_text("tile: 256\nstrength: 0.5\nrecursive: true\nsigma: [20, 10, 15]\n")
    monkeypatch.setenv("SMDAE_DENOISE_TILE", "128")
    monkeypatch.setenv("SMDAE_DENOISE_LUMA", "0.25")
    found = printed(capsys, "denoise", "a.png", "-c", "c.yaml", "--strength", "0.75")
    assert found["tile"] == ("128", "variable")
    assert found["luma"] == ("0.25", "variable")
    assert found["strength"] == ("0.75", "option")
    assert found["recursive"] == ("true", "file")
    assert found["sigma"] == ("20,10,15", "file") or found["sigma"][0].strip("'\"") == "20,10,15"
    assert found["chroma"] == ("1.0", "default")


@pytest.mark.parametrize("command", ["denoise", "compare"])
def test_every_variable_is_called_after_its_option(command, capsys):
    assert main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    told = {name.partition("=")[0] for name in re.findall(r"env var: (SMDAE_\w+)", said)}
    options = set(re.findall(r" --([a-z-]+) ?[<A-Z, ]", said))
    prefix = f"SMDAE_{command.upper()}_"
    assert {"SMDAE_DEVICE", "SMDAE_THREADS", f"{prefix}JSON", f"{prefix}IMPORT"} <= told
    for name in told - {"SMDAE_DEVICE", "SMDAE_THREADS"}:
        assert name.removeprefix(prefix).lower().replace("_", "-") in options, name


def test_a_variable_by_a_name_that_python_has_not_or_by_an_old_one_is_heeded(monkeypatch, capsys):
    monkeypatch.setenv("SMDAE_DENOISE_SAMPLER", "ode")
    monkeypatch.setenv("SMDAE_DENOISE_JSON", "1")
    found = printed(capsys, "denoise", "a.png")
    assert found["sampler"] == ("ode", "variable")
    assert found["json"] == ("true", "variable")
    assert "stepper" not in found
    monkeypatch.setenv("SMDAE_DENOISE_STEPPER", "ascent")
    assert printed(capsys, "denoise", "a.png")["stepper"] == ("ascent", "variable")


def test_a_bad_value_is_told_with_the_place_that_it_is_from(monkeypatch, capsys):
    def said(*arguments):
        assert main(["denoise", "a.png", *arguments]) == 2
        return capsys.readouterr().err.splitlines()[0]

    assert said("--seed", "x") == "smdae: error: invalid value for '--seed': it takes a whole number"
    assert said("--threads", "0") == "smdae: error: invalid value for '--threads': it is less than 1"
    assert said("--threads", "9999") == "smdae: error: invalid value for '--threads': it is more than 4096"
    monkeypatch.setenv("SMDAE_DENOISE_SEED", "x")
    assert said().endswith("'--seed' (env var: 'SMDAE_DENOISE_SEED'): it takes a whole number")
    monkeypatch.setenv("SMDAE_DENOISE_FAST", "perhaps")
    monkeypatch.delenv("SMDAE_DENOISE_SEED")
    assert said().endswith("'--fast' (env var: 'SMDAE_DENOISE_FAST'): it is true or false")


def test_a_value_that_the_command_itself_refuses_is_told_with_the_place_that_it_is_from(monkeypatch, capsys):
    def said(command, *arguments):
        assert main([command, "a.png", *arguments]) == 2
        return capsys.readouterr().err.splitlines()[0].removeprefix("smdae: error: ")

    plain = said("denoise", "--sigma", "abc")
    assert plain.startswith("--sigma 'abc' is neither")
    Path("c.yaml").write_text("luma: 0.5\nsigma: abc\n")
    assert said("denoise", "-c", "c.yaml") == f"--config 'c.yaml': line 2: {plain}"
    monkeypatch.setenv("SMDAE_DENOISE_SIGMA", "abc")
    assert said("denoise", "-c", "c.yaml") == f"SMDAE_DENOISE_SIGMA: {plain}"
    assert said("denoise", "--sigma", "abc") == plain
    monkeypatch.setenv("SMDAE_DENOISE_SIGMA", "")
    monkeypatch.setenv("SMDAE_DENOISE_QUIET", "1")
    both = "--quiet and --verbose exclude each other"
    assert said("denoise", "-v") == f"SMDAE_DENOISE_QUIET: {both}"
    monkeypatch.setenv("SMDAE_DENOISE_VERBOSE", "1")
    assert said("denoise") == f"SMDAE_DENOISE_QUIET: SMDAE_DENOISE_VERBOSE: {both}"
    monkeypatch.setenv("SMDAE_COMPARE_PATCHES", "0")
    assert said("compare").startswith("SMDAE_COMPARE_PATCHES: --patches 0")
    monkeypatch.delenv("SMDAE_COMPARE_PATCHES")
    monkeypatch.setenv("SMDAE_COMPARE_BATCH", "0")
    assert said("compare") == "SMDAE_COMPARE_BATCH: batch 0 is less than 1"


def test_a_model_that_a_variable_names_is_told_with_that_variable(monkeypatch, capsys):
    Path("a.png").write_bytes(encoded(gray()))
    monkeypatch.setenv("SMDAE_MODEL", "nope")
    assert main(["denoise", "a.png"]) == 5
    assert capsys.readouterr().err.startswith("smdae: error: SMDAE_MODEL: there is no model 'nope'")
    assert main(["denoise", "a.png", "-m", "nope"]) == 5
    assert capsys.readouterr().err.startswith("smdae: error: there is no model 'nope'")


@pytest.mark.parametrize("command", ["denoise", "compare"])
def test_what_is_printed_gives_the_same(command, capsys):
    Path("c.yaml").write_text("threads: 1\ndevice: cpu\n")
    assert main([command, "a.png", "-c", "c.yaml", "--print-config"]) == 0
    first = capsys.readouterr().out
    Path("again.yaml").write_text(first)
    assert main([command, "a.png", "-c", "again.yaml", "--print-config"]) == 0
    again = capsys.readouterr().out
    plain = [line.partition("  # ")[0] for line in first.splitlines()]
    assert [line.partition("  # ")[0] for line in again.splitlines()] == plain
    assert len(plain) > 10


def test_a_run_takes_its_options_from_a_file(here):
    Path("c.yaml").write_text("suffix: _clean\nsigma: 20\nnoise: white\nformat: tif\n")
    assert main(["denoise", "a.png", "-c", "c.yaml"]) == 0
    assert Path("a_clean.tif").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tiles: 3\n", ["line 1", "there is no option 'tiles'", "did you mean 'tile'?"]),
        ("tile: 256\nstrength: much\n", ["line 2", "it takes a number"]),
        ("recursive: 3\n", ["line 1", "recursive is true or false"]),
        ("tile: [1, 2]\n", ["line 1", "tile takes one value"]),
        ("tile: 3\n", ["--tile 3 is less than 64"]),
        ("{", ["c.yaml"]),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(here, text, words, capsys):
    Path("c.yaml").write_text(text)
    before = everything_below(here)
    assert main(["denoise", "a.png", "-c", "c.yaml"]) == 2
    message = complaint(capsys.readouterr().err)
    for word in words:
        assert word in message
    assert everything_below(here) == before


def test_a_variable_that_makes_no_sense_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("SMDAE_COMPARE_SEEDS", "many")
    assert main(["compare", "a.png"]) == 2
    assert "--seeds" in complaint(capsys.readouterr().err)


# How much is taken


@pytest.mark.parametrize(
    ("text", "size"),
    [("500M", 500 << 20), ("2g", 2 << 30), ("2.5 GB", 5 << 29), ("1GiB", 1 << 30), ("70000000", 70_000_000)],
)
def test_sizes_are_read(text, size):
    assert bytes_of(text, "--max-memory") == size


@pytest.mark.parametrize("text", ["much", "-1G", "", "3", "1X", "nan"])
def test_what_is_no_size_is_refused(text, capsys):
    with pytest.raises(UsageError, match="--max-memory"):
        bytes_of(text, "--max-memory")


def test_memory_and_threads_are_what_was_asked_for(monkeypatch):
    seen = []
    from smdae.denoising import tiles

    def side_for(*_):
        seen.append((left(), torch.get_num_threads()))
        return 64

    before = torch.get_num_threads()
    monkeypatch.setattr(sys.modules["smdae.denoising.denoise"], "side_for", side_for)
    Path("b.png").write_bytes(encoded(gray(80, 80)))
    assert tiles.SMALLEST < 80
    assert main(["denoise", "b.png", "-s", "20", "--max-memory", "100M", "--threads", "1"]) == 0
    assert seen == [(100 << 20, 1)]
    assert torch.get_num_threads() == before
    assert main(["denoise", "b.png", "--max-memory", "3"]) == 2
    assert main(["denoise", "b.png", "--threads", "0"]) == 2


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_whoever_writes_r_as_for_denoise_gets_what_there_is_without_it(command, here, capsys):
    (here / "photos" / "trip").mkdir(parents=True)
    assert main([command, "photos", "-r", "--max-steps", "3"]) == 3  # not 2: the option is taken
    assert "no images found in 'photos'" in complaint(capsys.readouterr().err)
