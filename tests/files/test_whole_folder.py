"""Folders are written whole or not at all, and replace only what may go."""

import os
from pathlib import Path

import pytest

from smdae.errors import OutputError
from smdae.files.whole_folder import refuse_folder, whole_folder
from smdae.files.writing import clear


def always(folder: Path) -> bool:
    return True


def write(path: Path, text: str, overwrite: bool = False) -> None:
    with whole_folder(path, overwrite=overwrite, may_go=always) as folder:
        assert folder.name.endswith(".part")
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text(text)


def fail(path: Path) -> None:
    with whole_folder(path, overwrite=True, may_go=always) as folder:
        (folder / "b").write_text("three")
        raise OSError("the disk is on fire")


def test_a_folder_is_there_at_the_end_or_not_at_all(tmp_path):
    write(tmp_path / "new", "one")
    assert (tmp_path / "new" / "sub" / "a").read_text() == "one"
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "new", "two")
    write(tmp_path / "new", "two", overwrite=True)
    with pytest.raises(OSError, match="disk"):
        fail(tmp_path / "new")
    assert (tmp_path / "new" / "sub" / "a").read_text() == "two"
    assert os.listdir(tmp_path) == ["new"]


def test_what_is_there_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "new", "one")
    rename = os.rename

    def failing(source, target):
        if str(source).endswith(".part"):
            raise PermissionError(13, "no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OutputError, match="permission denied"):
        write(tmp_path / "new", "two", overwrite=True)
    assert (tmp_path / "new" / "sub" / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["new"]


def test_other_things_are_not_replaced(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    for name, said in (("file", "it is a file"), ("mine", "other things"), ("no/where", "there is no folder")):
        with pytest.raises(OutputError, match=said):
            refuse_folder(tmp_path / name, overwrite=True, may_go=lambda folder: False)


def test_what_a_killed_process_left_is_cleared_away_and_what_grows_is_not(tmp_path):
    dead = tmp_path / ".x.zarr.123.0123456789ab.part"
    (dead / "0").mkdir(parents=True)
    with whole_folder(tmp_path / "x", overwrite=False, may_go=always) as folder:
        clear(tmp_path)
        assert not dead.exists()
        assert folder.exists()
