"""Settings from YAML: numbers are numbers, names count once, and whatever else a YAML file can do is refused."""

import os
import time

import pytest

from smdae.errors import UsageError
from smdae.files.config import LARGEST, read_config


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path):
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
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
        ("objective: ism-parzen\ncolor: true", {"objective": "ism-parzen", "color": True}),
        ("{sigma: 25, hidden: 8}", {"sigma": 25, "hidden": 8}),
        ('{"sigma": 25}', {"sigma": 25}),
        (b"\xef\xbb\xbfsigma: 25", {"sigma": 25}),
        ("sigma: 25\r\nlr: 1e-2\r\n", {"sigma": 25, "lr": 0.01}),
        ("max-steps: null", {"max_steps": None}),
    ],
)
def test_settings_are_read(config, text, settings):
    found = read_config(config(text))
    assert found == settings
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in settings.items()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sigma: 25\nlr: 1\nsigma: 50", ["line 3", "'sigma' is given twice"]),
        ("max-steps: 25\nmax_steps: 50", ["line 2", "'max_steps' is given twice"]),
        ("sigma: &a 25\nlr: *a", ["line 2", "aliases"]),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", ["line 2", "aliases"]),
        ("sigma: !!python/object/apply:os.system ['touch hurt']", ["line 1", "python"]),
        ("sigma: 25\n\tlr: 1", ["line 2"]),
        ("sigma: [25", ["line 1"]),
        ("a: 1\n---\nb: 2", ["line 2", "document"]),
        ("- 1\n- 2", ["line 1", "'name: value'"]),
        ("sigma", ["line 1", "'name: value'"]),
        ("lr: 1\nseed: 2020-99-99", ["line 2", "month"]),
        ("seed: 0x_", ["line 1"]),
        ("a: \0", []),
        ("a: " + "[" * 100_000, ["deeply"]),
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
    assert "larger" in refused(config(b"#" * (LARGEST + 1)))
    assert read_config(config(b"#" * LARGEST)) == {}


def test_an_endless_file_is_refused(tmp_path):
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    assert "larger" in refused(tmp_path / "zero.yaml")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "missing.yaml")
    assert "directory" in refused(tmp_path)
