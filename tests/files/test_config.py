"""Settings from YAML: numbers are numbers, names count once, and whatever else a YAML file can do is refused."""

import math
import os
import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smdae.errors import UsageError
from smdae.files.config import MAX_BYTES, Entry, dump, parse, read_entries


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path):
    with pytest.raises(UsageError) as caught:
        read_entries(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < len(str(path)) + 200
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("---\n", {}),
        ("{}", {}),
        ("lr: 1e-4", {"lr": 1e-4}),
        ("lr: 1E-4", {"lr": 1e-4}),
        ("lr: +.5e2", {"lr": 50.0}),
        ("lr: 1.5e-3", {"lr": 1.5e-3}),
        ("lr: '1e-4'", {"lr": "1e-4"}),
        ("lr: 0.01\nbatch: 64", {"lr": 0.01, "batch": 64}),
        ("max-steps: 3", {"max_steps": 3}),
        ("max_steps: 3", {"max_steps": 3}),
        ("max-time: 10m", {"max_time": "10m"}),
        ("objective: ism-parzen\ncolor: true", {"objective": "ism-parzen", "color": "true"}),
        ("size: no\nhalf: Yes\nabout: ON", {"size": "no", "half": "Yes", "about": "ON"}),
        ("max-time: 12:30:45", {"max_time": "12:30:45"}),
        ("seed: 010\nbatch: 0x10\nhidden: 0b1", {"seed": 10, "batch": "0x10", "hidden": "0b1"}),
        ("seed: 2020-99-99", {"seed": "2020-99-99"}),
        ("lr: -1.\nclip: .5\nema: 1", {"lr": -1.0, "clip": 0.5, "ema": 1}),
        ("lr: .inf\nclip: .nan\nema: 1e", {"lr": ".inf", "clip": ".nan", "ema": "1e"}),
        ("growth: [96, 128]", {"growth": [96, 128]}),
        ("growth:\n- 96\n- 128", {"growth": [96, 128]}),
        ("about: >-\n  two\n  lines", {"about": "two lines"}),
        ("about: |-\n  12", {"about": "12"}),
        ("init:\nabout: '~'", {"init": None, "about": "~"}),
        ("{sigma: 25, hidden: 8}", {"sigma": 25, "hidden": 8}),
        ('{"sigma": 25}', {"sigma": 25}),
        (b"\xef\xbb\xbfsigma: 25", {"sigma": 25}),
        ("sigma: 25\r\nlr: 1e-2\r\n", {"sigma": 25, "lr": 0.01}),
        ("sigma: 25\rlr: 1e-2\r", {"sigma": 25, "lr": 0.01}),
        (b"\xef\xbb\xbf# marked\r\nsigma: 25\r\n", {"sigma": 25}),
        ("max-steps: null", {"max_steps": None}),
    ],
)
def test_settings_are_read(config, text, settings):
    found = {entry.name: entry.value for entry in read_entries(config(text))}
    assert found == settings
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in settings.items()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sigma: 25\nlr: 1\nsigma: 50", ["line 3", "'sigma' is given twice", "first in line 1"]),
        ("max-steps: 25\nmax_steps: 50", ["line 2", "'max_steps' is given twice"]),
        ("sigma: &a 25\nlr: *a", ["line 2", "aliases"]),
        ("? [a, b]\n: 1", ["line 1", "'name: value'"]),
        ("sigma: 25\n<<: {lr: 1}", ["line 2", "mapping"]),
        ("sigma: 25\nlr: {low: 1}", ["line 2", "mapping"]),
        ("growth: [[{}]]", ["line 1", "mapping"]),
        ("lr: 1\nseed: " + "9" * 5000, ["line 2", "5000 digits"]),
        ("seed: !!int 010", ["line 1", "int"]),
        ("lr: 1\nmax-time: !!float 12:30:45", ["line 2", "float"]),
        ("color: !!bool no", ["line 1", "bool"]),
        ("about: !!binary aGk=", ["line 1", "binary"]),
        ("about: !" + "x" * 9000 + " 1", ["line 1", "!xxx"]),
        ("about: !" + "x" * 9000 + "!y 1", ["line 1"]),
        ('about: "\\UFFFFFFFF"', ["not YAML"]),
        ("%YAML 1." + "1" * 5000 + "\n---\na: 1", ["not YAML"]),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", ["line 2", "aliases"]),
        ("sigma: !!python/object/apply:os.system ['touch hurt']", ["line 1", "python"]),
        ("sigma: 25\n\tlr: 1", ["line 2"]),
        ("sigma: [25", ["line 1"]),
        ("a: 1\n---\nb: 2", ["line 2", "document"]),
        ("- 1\n- 2", ["line 1", "'name: value'"]),
        ("sigma", ["line 1", "'name: value'"]),
        ("a: \0", ["line 1", r"\x00"]),
        ("a: 1\r\n\x1b[31m", ["line 2", r"\x1b"]),
        ("lr: 1\nsigma:\t25", ["line 2", r"\t"]),
        ("a: " + "[" * 10_000, ["deeply"]),
        ("a: " + "{a: " * 10_000, ["deeply"]),
        ("sigma: 25".encode("utf-16"), ["not a text"]),
        (b"sigma: \xff\xfe25", ["not a text"]),
        (b"\x89PNG\r\n\x1a\n", ["not a text"]),
    ],
)
def test_what_is_no_plain_list_of_settings_is_refused(config, text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(config(text))
    for word in words:
        assert word in message
    assert os.listdir(tmp_path) == ["c.yaml"]


def test_an_alias_bomb_is_refused_at_once(config):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    start = time.perf_counter()
    refused(config("\n".join(lines)))
    assert time.perf_counter() - start < 1


def test_a_file_too_large_is_refused_unread(config):
    assert "larger" in refused(config(b"#" * (MAX_BYTES + 1)))
    assert read_entries(config(b"#" * MAX_BYTES)) == ()


def test_an_endless_file_is_refused(tmp_path):
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    assert "a device" in refused(tmp_path / "zero.yaml")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    assert "a pipe" in refused(tmp_path / "c.yaml")


def test_many_brackets_take_no_time(config):
    begun = time.process_time()
    assert "nested too deeply" in refused(config("growth: " + "[" * 20_000))
    assert time.process_time() - begun < 1


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "missing.yaml")
    assert "directory" in refused(tmp_path)


def test_each_setting_has_its_name_as_written_and_its_line(config):
    text = "# first\n\nmax-steps: 3\nabout: >-\n  two\n  lines\nmax_time: 9\n"
    assert read_entries(config(text)) == (
        Entry("max_steps", "max-steps", 3, 3),
        Entry("about", "about", "two lines", 4),
        Entry("max_time", "max_time", 9, 7),
    )


def test_the_largest_files_are_read_soon(config):
    for text in ("".join(f"a{i}: {i}\n" for i in range(5000)), "growth: [" + "1," * 30_000 + "1]"):
        start = time.process_time()
        read_entries(config(text))
        assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[96", ["expected"]),
        ("'a", ["end of stream"]),
        ("a: 1", ["mapping"]),
        ("&a [*a]", ["aliases"]),
        ("!!python/object:os.system {}", ["python"]),
        ("a\ud800", [r"\ud800"]),
        ("1\n---\n2", ["document"]),
        ("[" * 10_000, ["deeply"]),
        ("9" * 5000, ["5000 digits"]),
    ],
)
def test_a_text_that_is_no_value_is_refused_with_its_place(text, words):
    with pytest.raises(UsageError) as caught:
        parse(text, "SMDAE_X")
    assert caught.value.message.startswith("SMDAE_X: ")
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message


values = st.recursive(
    st.none() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_what_is_dumped_is_parsed_as_the_same_on_one_line_in_ascii(value):
    text = dump(value)
    assert text.isascii()
    assert text.isprintable()
    assert parse(text, "") == value
    assert parse(f"{text}  # from 'c.yaml': line 3", "") == value


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "true", "null", "1e-4", "010", "12:30:45", "0x1f", "~", "", "2020-01-01"]
)
def test_text_that_looks_like_more_is_quoted_for_any_reader(word):
    assert yaml.safe_load(dump(word)) == word
    assert parse(dump(word), "") == word


@pytest.mark.parametrize("value", [True, False])
def test_truth_is_a_word(value):
    assert yaml.safe_load(dump(value)) is value


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_value_or_a_refusal(text):
    with suppress(UsageError):
        assert isinstance(parse(text, "x"), int | float | str | list | None)


def test_a_number_too_large_is_infinite():
    assert parse("1e999", "x") == math.inf
