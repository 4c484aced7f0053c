"""The settings of `smdae fit`: flags before the environment before a file before defaults, each with its origin."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from smdae.cli.app import main
from smdae.cli.configuration import render, resolve
from smdae.errors import UsageError
from smdae.files.config import dump
from smdae.fitting.settings import Settings, check
from smdae.models import MODELS
from smdae.objectives import OBJECTIVES
from tests.tiny import FLAGS, complaint, everything_below, photos, python


@pytest.fixture(autouse=True)
def here(bare):
    return bare


def resolved(text=None, environment=None, **flags):
    """The configuration of these places, the text being that of c.yaml."""
    if text is not None:
        Path("c.yaml").write_text(text)
    return resolve(flags, environment or {}, None if text is None else Path("c.yaml"))


def refused(*arguments, **places):
    with pytest.raises(UsageError) as caught:
        resolved(*arguments, **places)
    assert caught.value.code == 2
    assert "\n" not in caught.value.message
    return caught.value


def printed(capsys, *arguments):
    """The configuration that a command prints: name, value and origin of each line."""
    assert main(["fit", "nowhere", "--print-config", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    parts = [line.partition("  # ") for line in out.splitlines()]
    return {part[0].partition(": ")[0]: (part[0].partition(": ")[2], part[2]) for part in parts}


def test_the_old_name_of_a_setting_is_still_read():
    for found in (resolved("strength: 0.25"), resolved(environment={"SMDAE_STRENGTH": "0.25"})):
        assert found.settings.reg_lambda == 0.25
        assert set(found.origins) == set(Settings.model_fields)
    with pytest.raises(UsageError, match="reg-lambda"):
        resolved("strength: -1")


def test_any_setting_is_given_by_its_name_as_a_flag():
    found = resolve({}, {"SMDAE_EMA": "0.5"}, None, ["ema=0.999", "reg-lambda = 2", "weights=[a*=2, b*=3]"])
    assert (found.settings.ema, found.settings.reg_lambda) == (0.999, 2)
    assert found.settings.weights == ("a*=2", "b*=3")
    assert found.origins["ema"] == "--set ema"


@pytest.mark.parametrize(
    ("assigned", "words"),
    [
        (["emma=0.9"], "did you mean 'ema'?"),
        (["ema"], "NAME=VALUE"),
        (["ema=2"], "--set ema: ema 2 is not less than 1"),
        (["ema=0.9", "ema=0.8"], "given already, by --set ema"),
        (["lr=0.1"], "given already, by --lr"),
        (["=1"], "there is no setting ''"),
        (["ema=[1"], "--set ema"),
    ],
)
def test_what_set_cannot_give_is_refused(assigned, words):
    with pytest.raises(UsageError) as caught:
        resolve({"lr": 0.5}, {}, None, assigned)
    assert words in f"{caught.value.message} {caught.value.hint}"


# Precedence


def test_flags_go_before_the_environment_and_that_before_the_file_and_that_before_defaults():
    text, environment = "lr: 1e-4\nsigma: 40\nseed: 5\n", {"SMDAE_SIGMA": "30", "SMDAE_SEED": "6"}
    found = resolved(text, environment, seed=7)
    assert (found.settings.lr, found.settings.sigma, found.settings.seed) == (1e-4, 30, 7)
    assert found.settings.hidden == Settings().hidden
    assert {name: found.origins[name] for name in ("lr", "sigma", "seed", "hidden")} == {
        "lr": "c.yaml line 1",
        "sigma": "SMDAE_SIGMA",
        "seed": "--seed",
        "hidden": "default",
    }


@pytest.mark.parametrize("place", ["file", "flag"])
def test_the_defaults_of_the_family_go_before_those_of_all_and_after_what_is_given(place):
    found = resolved("model: unet\nlr: 1") if place == "file" else resolved("\nlr: 1", model="unet")
    assert found.settings.batch == MODELS["unet"].defaults["batch"]
    assert (found.origins["batch"], found.origins["hidden"]) == ("default of unet", "default")
    assert (found.settings.lr, found.origins["lr"]) == (1, "c.yaml line 2")


VARIABLES = {
    "SMDAE_OBJECTIVE": ("dae", "dae"),
    "SMDAE_SIGMA": ("40", 40.0),
    "SMDAE_PATCH_SIZE": ("8", 8),
    "SMDAE_HIDDEN": ("010", 10),
    "SMDAE_INIT": ("natural-gray", "natural-gray"),
    "SMDAE_COLOR": ("yes", True),
    "SMDAE_HALF": ("1", True),
    "SMDAE_ABOUT": ("'2011'", "2011"),
    "SMDAE_LR": ("1e-4", 1e-4),
    "SMDAE_MAX_STEPS": ("null", None),
    "SMDAE_MAX_TIME": ("10m", 600.0),
}


@pytest.mark.parametrize(("name", "value"), VARIABLES.items())
def test_a_variable_holds_what_a_file_would(name, value):
    text, expected = value
    setting = name.removeprefix("SMDAE_").lower()
    for found in (resolved(environment={name: text}), resolved(f"{setting}: {text}")):
        assert getattr(found.settings, setting) == expected
        assert type(getattr(found.settings, setting)) is type(expected)


@pytest.mark.parametrize("text", ["[5, 55]", "5-55"])
def test_many_levels_are_a_list_or_as_on_the_command_line(text):
    for found in (resolved("model: unet", {"SMDAE_SIGMA": text}), resolved(f"model: unet\nsigma: {text}")):
        assert found.settings.sigma == (5, 55)


def test_a_list_may_be_in_a_variable():
    found = resolved("model: unet", {"SMDAE_GROWTH": "[96, 128]"})
    assert found.settings.growth == (96, 128)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_variable_is_none(text):
    assert resolved(environment={"SMDAE_SIGMA": text}) == resolved()


def test_the_model_file_of_denoise_is_no_setting_of_a_fit():
    assert resolved(environment={"SMDAE_MODEL": "unet"}) == resolved()
    assert resolved(environment={"SMDAE_MODEL": "my.safetensors"}) == resolved()
    assert resolved("model: unet", {"SMDAE_MODEL": "energy"}).settings.model == "unet"


@pytest.mark.parametrize("name", ["SMDAE_SGMA", "SMDAE_X", "SMDAE_", "SMDAE_DEVICE", "smdae_sigma", "SMDAE_MAX-TIME"])
def test_other_variables_are_not_looked_at(name):
    assert resolved(environment={name: "[7"}) == resolved()


def test_a_fit_takes_its_settings_from_everywhere(here, monkeypatch, capsys):
    photos(here / "photos")
    (here / "c.yaml").write_text("lr: 0.01\nsigma: 40\nhidden: 3\n")
    monkeypatch.setenv("SMDAE_SIGMA", "30")
    monkeypatch.setenv("SMDAE_HIDDEN", "5")
    monkeypatch.setenv("SMDAE_MODEL", "no such file")
    assert main(["fit", "photos", *FLAGS, "-c", "c.yaml", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["fit"]
    assert (settings["lr"], settings["sigma"], settings["hidden"], settings["model"]) == (0.01, 30, 8, "energy")


def test_the_device_may_be_in_a_variable(here, monkeypatch, capsys):
    photos(here / "photos")
    monkeypatch.setenv("SMDAE_DEVICE", "tpu")
    for command in ("fit", "denoise", "compare"):
        assert main([command, "photos"]) == 2
        assert complaint(capsys.readouterr().err).startswith("smdae: error: SMDAE_DEVICE 'tpu' is not a device")
    assert main(["fit", "photos", "-d", "gpu"]) == 2
    assert complaint(capsys.readouterr().err).startswith("smdae: error: --device 'gpu' is not a device")
    assert main(["fit", "photos", "--print-config", "-d", "cpu"]) == 0
    monkeypatch.setenv("SMDAE_DEVICE", "")
    assert main(["fit", "photos", "--print-config"]) == 0
    monkeypatch.setenv("SMDAE_DEVICE", "cuda:99")
    capsys.readouterr()
    assert main(["fit", "photos"]) == 8
    assert "'cuda:99'" in complaint(capsys.readouterr().err)


# Refusals


@pytest.mark.parametrize(
    ("text", "line", "written", "nearest"),
    [
        ("lr: 1\n\nsgma: 3", 3, "sgma", "sigma"),
        ("max-step: 3", 1, "max-step", "max-steps"),
        ("max_step: 3", 1, "max_step", "max-steps"),
        ("Sigma: 3", 1, "Sigma", "sigma"),
        ("# a\nlr: 1\npatchsize: 3", 3, "patchsize", "patch-size"),
        ("colour: true", 1, "colour", "color"),
        ("optimizer: muon", 1, "optimizer", "optimiser"),
    ],
)
def test_an_unknown_name_is_refused_with_its_line_and_the_nearest(text, line, written, nearest):
    error = refused(text)
    assert error.message == f"--config 'c.yaml': line {line}: there is no setting '{written}'"
    assert error.hint == f"did you mean '{nearest}'?"


@pytest.mark.parametrize("name", ["frobnicate", "''", "'a\\nb'", "ü", "'-'", '"' + "sigma" * 5000 + '"'])
def test_a_name_near_to_none_is_answered_with_all(name):
    error = refused(f"? {name}\n: 3")
    assert "line 1: there is no setting" in error.message
    assert len(error.message) < 200
    if "sigma" not in name:
        assert error.hint == "settings are " + ", ".join(name.replace("_", "-") for name in Settings.model_fields)


def test_a_name_given_twice_is_refused_even_when_spelt_otherwise():
    assert refused("max-time: 3\nlr: 1\nmax_time: 4").message.startswith(
        "--config 'c.yaml': line 3: 'max_time' is given"
    )


WRONG = {
    "sigma": ["loud", "-3", "0", ".nan", ".inf", "yes", "1:30", "[5]", "[60, x]", "5-x", "null", "1e999"],
    "lr": ["fast", "-1", "true", "1:30", "nan", "[1]", "9" * 400],
    "patch-size": ["4.5", "0x10", "1", "no", "1:30"],
    "max-time": ["12:30:45", "soon", "-3", "0", "[10m]", "10 d", "x" * 9000],
    "max-steps": ["0", "1e-4", "many"],
    "growth": ["3", "[1]", "[x]", "[[96]]"],
    "color": ["perhaps", "2", "[true]"],
    "objective": ["nope", "3", "no", "x" * 9000],
    "model": ["nope", "null"],
    "size": ["no", "huge"],
    "target": ["cauchy"],
    "about": ["[x]"],
    "seed": ["2020-01-01", "-1", "9" * 30],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_refused_value_names_its_line_or_its_variable(name, value):
    message = refused(f"# mine\n\n{name}: {value}\n").message
    assert message.startswith("--config 'c.yaml': line 3: ")
    assert name in message.partition("line 3: ")[2]
    assert len(message) < 300
    if name != "model":
        variable = f"SMDAE_{name.replace('-', '_').upper()}"
        message = refused(environment={variable: value}).message
        assert message.startswith(f"{variable}: ")
        assert len(message) < 300


def test_an_unknown_objective_is_answered_with_those_there_are_wherever_it_is_from():
    for error in (
        refused("objective: nope"),
        refused(environment={"SMDAE_OBJECTIVE": "nope"}),
        refused(objective="nope"),
    ):
        assert error.message.endswith(f"unknown objective 'nope'; there are {', '.join(OBJECTIVES)}")


@pytest.mark.parametrize("value", ["[96", "&a 3", "!!int 3", "{a: 3}", "a: 3", "'", "\x00", "\udcff", "[" * 5000])
def test_a_variable_that_is_no_value_is_refused_by_name(value):
    assert refused(environment={"SMDAE_GROWTH": value}).message.startswith("SMDAE_GROWTH: ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sigma": "loud"}, "--sigma 'loud' is not a level of noise"),
        ({"max_time": "soon"}, "--max-time 'soon' is not a duration"),
        ({"lr": -1.0}, "lr -1.0 is not more than 0"),
        ({"lr": float("nan")}, "lr nan is not finite"),
        ({"batch": 0}, "batch 0 is less than 1"),
        ({"hidden": 99_999}, "hidden 99999 is more than 65536"),
        ({"objective": "nope"}, f"unknown objective 'nope'; there are {', '.join(OBJECTIVES)}"),
    ],
)
def test_refused_flags_say_no_more(flags, message):
    assert refused("sigma: 3\nlr: 1", {"SMDAE_LR": "2"}, **flags).message == message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("batch: 1.5", "batch 1.5 is not a whole number"),
        ("batch: some", "batch 'some' is not a whole number"),
        ("lr: fast", "lr 'fast' is not a number"),
        ("color: perhaps", "color 'perhaps' is neither true nor false"),
        ("hold-out: 1", "hold-out 1 is not less than 1"),
        ("activation: tanh", "activation 'tanh' is not 'relu' or 'silu'"),
        ("objective: 3", "objective 3 is not a text"),
        ("growth: 3", "growth 3 is not a list"),
    ],
)
def test_a_value_that_a_setting_does_not_take_is_told_in_plain_words(line, words):
    assert refused(line).message == f"--config 'c.yaml': line 1: {words}"


def test_a_value_that_a_better_place_replaces_is_not_judged():
    found = resolved("lr: -1\nmax-time: soon", {"SMDAE_LR": "1", "SMDAE_SIGMA": "loud"}, sigma="3", max_time="4m")
    assert (found.settings.lr, found.settings.sigma, found.settings.max_time) == (1, 3, 240)


def test_where_settings_clash_a_hint_tells_where_they_are_from():
    error = refused("lr: 1\nclipped: 0.5", {"SMDAE_SIGMA": "[5, 50]"}, model="energy")
    assert error.message.startswith("the model 'energy' is fitted at one sigma")
    assert error.hint == "sigma is from SMDAE_SIGMA"
    error = refused("recoloured: 0.5\ncolor: no\nlr: 1", model="unet")
    assert error.hint == "recoloured is from c.yaml line 1, color is from c.yaml line 2"
    assert refused(model="unet", recoloured=0.5).hint is None


@pytest.mark.parametrize("text", ["a: &a [x]\nb: [*a, *a]", "lr: !!python/name:os.system", "\tlr: 1", "a: \x00", "- 1"])
def test_a_bad_file_is_one_line_on_stderr_and_code_2(here, text, capsys):
    (here / "c.yaml").write_text(text)
    before = everything_below(here)
    for more in ((), ("--print-config",)):
        assert main(["fit", "photos", "-c", "c.yaml", *more]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert complaint(err).startswith("smdae: error: --config 'c.yaml': ")
    assert everything_below(here) == before


def test_a_file_of_50_megabytes_is_refused_at_once(here, capsys):
    with (here / "c.yaml").open("wb") as file:
        file.truncate(50 << 20)
    assert main(["fit", "photos", "-c", "c.yaml"]) == 2
    assert "larger" in complaint(capsys.readouterr().err)


@pytest.mark.parametrize(
    "text", ["\ufeffsigma: 40\r\nlr: 1e-4\r\n", "sigma: 40\rlr: 1e-4", "---\nsigma: 40 # loud\nlr: 1e-4\n..."]
)
def test_files_of_any_editor_are_read(text):
    Path("c.yaml").write_bytes(text.encode())
    found = resolve({}, {}, Path("c.yaml"))
    assert (found.settings.sigma, found.settings.lr) == (40, 1e-4)


# --print-config


def test_the_configuration_is_printed_with_the_origin_of_each_value(here, monkeypatch, capsys):
    (here / "c.yaml").write_text("# mine\nlr: 1e-4\nmodel: unet\n")
    monkeypatch.setenv("SMDAE_SIGMA", "40")
    monkeypatch.setenv("SMDAE_GROWTH", "[96, 128]")
    before = everything_below(here)
    found = printed(capsys, "-c", "c.yaml", "--max-steps", "5", "--max-time", "10m")
    assert list(found) == [name.replace("_", "-") for name in Settings.model_fields]
    told = {
        "sigma": ("40.0", "SMDAE_SIGMA"),
        "lr": ("0.0001", "c.yaml line 2"),
        "model": ("unet", "c.yaml line 3"),
        "growth": ("[96, 128]", "SMDAE_GROWTH"),
        "max-steps": ("5", "--max-steps"),
        "max-time": ("600.0", "--max-time"),
        "batch": ("16", "default of unet"),
        "hidden": ("512", "default"),
        "init": ("null", "default"),
        "color": ("false", "default"),
        "about": ('""', "default"),
    }
    assert {name: found[name] for name in told} == told
    assert everything_below(here) == before


def test_the_origin_is_the_file_as_it_was_named(here, capsys):
    for name in ("[a] b.yaml", "ü 🎈.yaml", "new\nline # x.yaml", "caf\udce9.yaml"):
        (here / name).write_text("lr: 1")
        origin = printed(capsys, "-c", name)["lr"][1]
        assert origin == f"{ascii(name)[1:-1]} line 1"


def test_what_is_printed_is_yaml_to_others_too(capsys):
    assert main(["fit", "nowhere", "--print-config", "--model", "unet", "--init", "no"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["init"] == "no"
    assert (found["color"], found["max-steps"], found["sigma"]) == (False, None, [1.0, 60.0])


def test_what_is_printed_may_be_given_back(here, capsys):
    arguments = ["fit", "nowhere", "--print-config"]
    assert main([*arguments, "--model", "unet", "-s", "5-55", "--max-time", "90s", "--init", "ü: #1"]) == 0
    first = capsys.readouterr().out
    (here / "c.yaml").write_text(first)
    assert main([*arguments, "-c", "c.yaml"]) == 0
    second = capsys.readouterr().out
    values = [[line.partition("  # ")[0] for line in text.splitlines()] for text in (first, second)]
    assert values[0] == values[1]
    assert all(line.endswith(f"  # c.yaml line {i}") for i, line in enumerate(second.splitlines(), 1))


def test_no_image_is_read_to_print(here):
    code = (
        "import sys; from smdae.cli.app import main\n"
        "assert main(['fit', 'nowhere', '--print-config']) == 0\n"
        "print([m for m in ('PIL.Image', 'smdae.files.corpus', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stdout.startswith("objective: dsm  # default\n")
    assert done.stderr == "[]\n"


def small(field):
    return st.floats(field, 1, exclude_max=True, allow_subnormal=False)


VALUES = {
    "objective": st.sampled_from(sorted(OBJECTIVES)),
    "model": st.sampled_from(sorted(MODELS)),
    "sigma": st.floats(1e-3, 255) | st.tuples(st.floats(1, 20), st.floats(20, 255)) | st.integers(1, 255),
    "clipped": st.floats(0, 1),
    "patch_size": st.integers(2, 256),
    "growth": st.lists(st.integers(2, 1024), max_size=3).map(tuple),
    "hidden": st.integers(1, 65536),
    "size": st.sampled_from(["small", "medium"]),
    "init": st.none() | st.text() | st.sampled_from(["null", "~", "no", "1e-4", "010", "natural-gray"]),
    "activation": st.sampled_from(["relu", "silu"]),
    "color": st.booleans(),
    "recoloured": st.floats(0, 1),
    "target": st.sampled_from(["gaussian", "gmm"]),
    "reg_lambda": st.floats(0, 1e300),
    "batch": st.integers(1, 1_000_000),
    "optimiser": st.sampled_from(["adamw", "muon"]),
    "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    "lr": st.floats(5e-324, 1e300),
    "ema": small(0),
    "max_steps": st.none() | st.integers(1, 10**12),
    "max_time": st.none() | st.floats(1e-9, 1e300),
    "hold_out": small(1e-9),
    "seed": st.integers(0, 2**63 - 1),
    "half": st.booleans(),
    "about": st.text(),
}


def valid(values):
    """Whether these are settings that go together."""
    try:
        check(values)
    except UsageError:
        return False
    return True


choices = st.fixed_dictionaries({}, optional=VALUES)


@given(choices)
@hypothesis_settings(max_examples=50, deadline=None)
def test_any_configuration_printed_and_given_back_is_the_same(tmp_path_factory, values):
    assume(valid(values))
    first = resolve({name: value for name, value in values.items() if value is not None}, {})
    text = render(first)
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        n.replace("_", "-") for n in Settings.model_fields
    ]
    file = tmp_path_factory.getbasetemp() / "given back.yaml"
    file.write_text(text)
    second = resolve({}, {}, file)
    assert second.settings == first.settings
    assert set(second.origins.values()) == {f"{file} line {i}" for i in range(1, len(Settings.model_fields) + 1)}


@given(choices)
@hypothesis_settings(max_examples=50, deadline=None)
def test_any_setting_may_be_in_its_variable(values):
    assume(valid(values))
    environment = {f"SMDAE_{name.upper()}": dump(value) for name, value in values.items() if name != "model"}
    found = resolve({"model": values.get("model")}, environment)
    assert found.settings == check(values)
    assert all(found.origins[name] == f"SMDAE_{name.upper()}" for name in values if name != "model")
