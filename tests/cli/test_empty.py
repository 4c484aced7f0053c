"""An empty argument, as a variable that is not set makes of "$F", is refused, and never means the current folder."""

import pytest
import typer

from smdae.cli.app import app, main
from tests.tiny import complaint, encoded, everything_below, gray, model_bytes

MAY_BE_EMPTY = {"--suffix"}


def options() -> list[tuple[str, str]]:
    """Every option that takes a value, by command."""
    commands = typer.main.get_command(app).commands
    return [
        (command, name)
        for command in sorted(commands)
        for parameter in commands[command].params
        for name in parameter.opts
        if name.startswith("-") and not parameter.is_flag and name not in MAY_BE_EMPTY
    ]


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    (bare / "a.png").write_bytes(encoded(gray()))
    (bare / "model.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "model.safetensors")
    return bare


@pytest.mark.parametrize(
    "arguments",
    [
        ["denoise", "", "--in-place"],
        ["denoise", ""],
        ["denoise", "a.png", ""],
        ["denoise", "--", ""],
        ["info", ""],
        ["fit", ""],
        ["compare", "", "--quick"],
    ],
)
def test_an_empty_input_is_refused_and_nothing_touched(here, arguments, capsys):
    before = everything_below(here)
    assert main(arguments) == 2
    assert "empty" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_the_options_are_found():
    some = {("denoise", "-o"), ("denoise", "--mask"), ("fit", "-c"), ("fit", "--init"), ("compare", "-m")}
    assert some <= {*options()}


@pytest.mark.parametrize(("command", "name"), options())
def test_an_empty_value_is_refused_and_the_option_named(here, command, name, capsys):
    before = everything_below(here)
    for value in ([name, ""], [f"{name}="]) if name.startswith("--") else ([name, ""],):
        assert main([command, "a.png", *value]) == 2
        text = complaint(capsys.readouterr().err)
        assert name in text
        assert "empty" in text
    assert everything_below(here) == before


def test_a_suffix_may_be_empty(here):
    (here / "out").mkdir()
    assert main(["denoise", "a.png", "-o", "out", "--suffix", "", "-s", "20"]) == 0
    assert main(["denoise", "a.png", "-o", "out", "--suffix=", "-s", "20", "-y"]) == 0
