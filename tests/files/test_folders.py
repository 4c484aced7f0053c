"""Walking through folders and links."""

import os

import pytest

from smdae.files.folders import places


def found(top, **options) -> list[str]:
    """The files that are come by, relative to the folder."""
    return [str((p.path / name).relative_to(top)) for p in places(top, raised, **options) for name in p.names]


def raised(error):
    raise error


@pytest.fixture
def tree(tmp_path):
    """in/ with a.png and deep/b.png, and beside it elsewhere/ with c.png and more/d.png."""
    for name in ("in/a.png", "in/deep/b.png", "elsewhere/c.png", "elsewhere/more/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_folders_are_searched_behind_links_too_each_once(tree):
    (tree / "in" / "1").symlink_to(tree / "elsewhere" / "more")
    (tree / "in" / "2").symlink_to("../elsewhere")
    (tree / "in" / "3").symlink_to("../elsewhere")
    assert found(tree / "in") == ["a.png", "1/d.png", "2/c.png", "deep/b.png"]
    (tree / "links").mkdir()
    (tree / "links" / "x").symlink_to(tree / "in")
    assert found(tree / "links") == ["x/a.png", "x/1/d.png", "x/2/c.png", "x/deep/b.png"]


@pytest.mark.parametrize("target", [".", "..", "/", "deep", "loop"])
def test_links_that_lead_round_are_not_followed(tree, target):
    (tree / "in" / "link").symlink_to(target)
    (tree / "in" / "loop").symlink_to("link")
    expected = {"a.png", "deep/b.png"} | ({"link", "loop"} if target == "loop" else set())  # which lead nowhere
    assert set(found(tree / "in")) == expected


def test_two_folders_that_lead_to_each_other_come_to_an_end(tree):
    (tree / "in" / "there").symlink_to("../elsewhere")
    (tree / "elsewhere" / "back").symlink_to("../in")
    assert found(tree / "in") == ["a.png", "deep/b.png", "there/c.png", "there/more/d.png"]


def test_links_may_be_left_and_are_named_then(tree):
    (tree / "in" / "there").symlink_to("../elsewhere")
    assert found(tree / "in", follow=False) == ["a.png", "deep/b.png"]
    assert next(places(tree / "in", raised, follow=False)).folders == ["deep", "there"]


def test_hidden_folders_are_not_searched_unless_named_or_linked(tree):
    (tree / "in" / "deep").rename(tree / "in" / ".deep")
    assert found(tree / "in") == ["a.png"]
    assert found(tree / "in" / ".deep") == ["b.png"]
    (tree / "in" / "link").symlink_to(".deep")
    assert found(tree / "in") == ["a.png", "link/b.png"]


def test_a_folder_may_be_left_out_by_whatever_way_one_comes_to_it(tree):
    (tree / "in" / "there").symlink_to("../elsewhere")
    (tree / "in" / "within").symlink_to("../elsewhere/more")
    assert found(tree / "in", outside=str(tree / "elsewhere")) == ["a.png", "deep/b.png"]
    assert found(tree / "elsewhere", outside=str(tree / "elsewhere")) == ["c.png", "more/d.png"]


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\nb", b'it\'s "x"'])
def test_any_name_will_do(tree, name):
    (tree / "in" / os.fsdecode(name)).symlink_to(tree / "elsewhere")
    assert os.path.join(os.fsdecode(name), "c.png") in found(tree / "in")


def test_a_file_behind_links_has_one_real_name(tree):
    (tree / "in" / "there").symlink_to("../elsewhere")
    (tree / "in" / "c.png").symlink_to("there/c.png")
    real = {p.real_file(name) for p in places(tree / "in", raised) for name in p.names if name == "c.png"}
    assert real == {os.path.realpath(tree / "elsewhere" / "c.png")}
