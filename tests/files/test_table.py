"""Tables of rows: what is read, when arrays are rows and when images, and what is refused in one line."""

import zipfile

import numpy as np
import pytest

from smdae.errors import InputError, UsageError
from smdae.files.corpus import gather
from smdae.files.table import counted, gather_rows, kind_of
from tests.tiny import encoded, gray

ROWS = np.random.default_rng(0).random((40, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def here(bare):
    return bare


def kind(*paths, asked=None, of_patches=True, noisy=False):
    return kind_of(paths, asked, of_patches, noisy)[0]


def in_order(rows):
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "b.csv", "c.csv", "d.tsv"])
def test_every_row_is_read_once(here, name):
    path = here / name
    if name == "a.npy":
        np.save(path, ROWS)
    elif name == "a.npz":
        np.savez(path, ROWS[:20], ROWS[20:])
    else:
        np.savetxt(path, ROWS, delimiter={"a": ",", "b": ";", "c": " ", "d": "\t"}[name[0]])
    corpus = gather_rows([path], None, 0)
    (table,) = corpus.images
    assert table.shape == (1, 40, 3)
    assert corpus.white == 1
    np.testing.assert_array_equal(in_order(table[0]), in_order(ROWS))


@pytest.mark.parametrize(
    "text",
    [
        "1,5;-2\n3;4e-1\n",
        "1,5\t-2,0\n3\t0,4\n",
        "# x,y\n1.5,-2\n#\n 3 , 0.4\n",
        "1.5;-2.0\n3.0;0.4\n",
    ],
)
def test_decimal_commas_and_lines_of_comment_are_read_as_meant(here, text):
    (here / "a.csv").write_text(text)
    (table,) = gather_rows([here / "a.csv"], None, 0).images
    np.testing.assert_allclose(in_order(table[0]), in_order(np.array([[1.5, -2], [3, 0.4]], np.float32)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x,y\n1.5,-2\n3,0.4\n", ("x", "y")),
        ("\ufeff# measured\nx;y\n1,5;-2\n3;0,4\n", ("x", "y")),
        ('"width, in mm","depth"\n1.5,-2\n3,0.4\n', ("width, in mm", "depth")),
        ("x y\n1.5 -2\n3 0.4\n", ("x", "y")),
        ("wing length,depth\n1.5,-2\n3,0.4\n", ("wing length", "depth")),
        ("x\ty\r\n1.5\t-2\r\n3\t0.4\r\n", ("x", "y")),
        ("1.5,-2\n3,0.4\n", ()),
        ('"x","y"\n"1.5","-2"\n"3","0.4"\n', ("x", "y")),
        ('"1,5";"-2"\n"3";"0,4"\n', ()),
        ("1.5,-2,\n3,0.4,\n", ()),
        ("x,y,\n1.5,-2,\n3,0.4, \n", ("x", "y")),
        ("x;y\n1,5;-2;\n3;0,4;\n", ("x", "y")),
    ],
)
def test_one_line_of_names_may_head_a_table(here, text, names):
    (here / "a.csv").write_text(text, "utf-8")
    corpus = gather_rows([here / "a.csv"], None, 0)
    np.testing.assert_allclose(in_order(corpus.images[0][0]), in_order(np.array([[1.5, -2], [3, 0.4]], np.float32)))
    assert corpus.columns == names


def test_the_name_of_a_single_column_may_have_blanks(here):
    (here / "a.csv").write_text("wing length (mm)\n1.5\n3\n")
    assert gather_rows([here / "a.csv"], None, 0).columns == ("wing length (mm)",)
    (here / "a.csv").write_text("a,b\n1.5\n3\n")
    with pytest.raises(InputError, match=r"line 1 names 2 columns, and line 2 has 1 number$"):
        gather_rows([here / "a.csv"], None, 0)


def test_positions_that_pandas_writes_for_names_are_names(here):
    (here / "a.csv").write_text("0,1,2\n1.5,-2,1\n3,0.4,2\n")
    assert gather_rows([here / "a.csv"], None, 0).columns == ("0", "1", "2")
    (here / "a.csv").write_text("0,1,2\n1,-2,1\n3,4,2\n")  # may be three rows
    assert gather_rows([here / "a.csv"], None, 0).images[0].shape == (1, 3, 3)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_other_encodings_are_known(here, encoding):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (here / "a.csv").write_bytes(f"{mark}größe;länge\n1,5;-2\n3;0,4\n".encode(encoding))
    assert gather_rows([here / "a.csv"], None, 0).columns == ("größe", "länge")


def test_what_is_no_text_is_told(here):
    (here / "a.csv").write_bytes(b"\x89PNG\0\0\xff\0")
    with pytest.raises(InputError, match="it is not text"):
        gather_rows([here / "a.csv"], None, 0)


@pytest.mark.parametrize("name", ["a.txt", "a.dat"])
def test_a_text_that_is_named_is_a_table_and_one_beside_pictures_is_none(here, name):
    np.savetxt(here / name, ROWS)
    assert kind_of([here / name], None, True, False)[0] == "rows"
    np.testing.assert_array_equal(in_order(gather_rows([here / name], None, 0).images[0][0]), in_order(ROWS))
    (here / "a.png").write_bytes(encoded(gray()))
    assert kind_of([here], None, True, False)[0] == "images"


def test_columns_of_other_names_do_not_go_together(here):
    (here / "a.csv").write_text("x,y\n1,2\n3,5\n")
    (here / "b.csv").write_text("y,x\n2,1\n4,3\n")
    with pytest.raises(InputError, match=r"b.csv': its columns are y, x, and those of .*a.csv' are x, y"):
        gather_rows([here], None, 0)
    (here / "b.csv").write_text("2,1\n4,3\n")
    assert gather_rows([here], None, 0).columns == ("x", "y")


def test_what_was_read_is_told_with_the_names_of_the_columns(here):
    (here / "a.csv").write_text("x,y\n1,2\n3,5\n4,1\n")
    (here / "b.csv").write_text("a,b,c,d,e\n1,2,3,4,5\n5,4,2,1,0\n")
    np.save(here / "c.npy", ROWS[:, :1])
    told = [counted(gather_rows([here / name], None, 0)) for name in ("a.csv", "b.csv", "c.npy")]
    assert told == [
        "3 rows of 2 numbers (x, y: names from the first line), one example each",
        "2 rows of 5 numbers (a, b, c, ...: names from the first line), one example each",
        "40 rows of 1 number, one example each",
    ]


def test_an_array_of_one_axis_is_rows_of_one_number(here):
    np.save(here / "a.npy", ROWS[:, 0])
    assert kind(here / "a.npy") == "rows"
    (table,) = gather_rows([here / "a.npy"], None, 0).images
    np.testing.assert_array_equal(np.sort(table[0, :, 0]), np.sort(ROWS[:, 0]))
    np.savez(here / "labelled.npz", x=ROWS, y=ROWS[:, 0])
    with pytest.raises(InputError, match="its arrays have 3 and 1 columns"):
        gather_rows([here / "labelled.npz"], None, 0)


def test_rows_of_bytes_keep_their_white_and_others_have_the_one_given(here):
    np.save(here / "a.npy", (255 * ROWS).astype(np.uint8))
    np.save(here / "b.npy", (255 * ROWS).astype(np.int64))
    assert gather_rows([here / "a.npy"], 10.0, 0).white == 255
    assert gather_rows([here / "b.npy"], 10.0, 0).white == 10


def test_arrays_of_two_axes_are_rows_where_they_can_be(here):
    np.save(here / "table.npy", ROWS)
    np.save(here / "stack.npy", np.zeros((2, 8, 8)))
    (here / "a.png").write_bytes(encoded(gray()))
    table, stack, picture = (here / name for name in ("table.npy", "stack.npy", "a.png"))
    assert kind(table) == "rows"
    assert kind(stack) == kind(picture) == kind(here) == kind(table, picture) == "images"
    assert kind(table, of_patches=False) == kind(table, noisy=True) == "images"
    assert "as others here are" in kind_of([here], None, True, False)[1]
    assert kind_of([table], None, True, True)[1] == kind_of([stack], None, True, False)[1] == ""
    assert kind(table, asked="images") == "images"
    assert kind(table, asked="rows") == "rows"


def test_what_can_be_no_rows_is_refused(here):
    np.save(here / "table.npy", ROWS)
    np.save(here / "stack.npy", np.zeros((2, 8, 8)))
    np.savetxt(here / "a.csv", ROWS, delimiter=",")
    with pytest.raises(InputError, match=r"stack.npy' as rows"):
        kind(here / "stack.npy", asked="rows")
    with pytest.raises(UsageError, match="models of patches"):
        kind(here / "table.npy", asked="rows", of_patches=False)
    for options in ({"asked": "images"}, {"of_patches": False}, {"noisy": True}):
        with pytest.raises(InputError, match="a CSV holds rows"):
            kind(here / "a.csv", **options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n3,4\n5\n", ["line 3 has 1 number,", "line 1 has 2"]),
        ("1,2\n3,x\n", ["line 2 holds 'x'"]),
        ("a,1\n1,2\n", ["line 1 holds 'a'", "one line of names"]),
        ("a,b\nm,s\n1,2\n", ["line 2 holds 'm'", "one line of names"]),
        ("1,2\na,b\n", ["line 2 holds 'a'", "numbers only"]),
        ("a,b,c\n1,2\n", ["line 1 names 3 columns, and line 2 has 2 numbers"]),
        ("a,b\n", ["no numbers"]),
        (",a,b\n0,1,2\n1,3,4\n", ["line 1 leaves column 1 without a name", "index"]),
        ("1,2\n\n3,\n", ["line 3 holds ''"]),
        ("1,2\n3,nan\n", ["line 2 holds 'nan'"]),
        ("1,2\n", ["it has 1 row"]),
        ("", ["no numbers"]),
        ("1,2,7\n1,3,7\n1,4,7\n", ["columns 1, 3 are constant, and have no density"]),
        ("1,2\n1,3\n", ["column 1 is constant, and has no density"]),
        ("1,2\n3,1e99\n", ["row 2", "not numbers"]),
        ('"1,234","2"\n"3","4"\n', ["line 1 holds '1,234'", "without marks for thousands"]),
        ("1.234,5;2\n3;4\n", ["line 1 holds '1.234,5'", "thousands"]),
        ("a,,\n1,2,\n", ["line 1 leaves column 2 without a name"]),
        (f"{'1,' * 4096}2\n" * 2, ["4,097 numbers", "at most 4,096 are allowed"]),
    ],
)
def test_a_bad_table_is_refused_in_one_line_that_says_where(here, text, words):
    (here / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        gather_rows([here / "a.csv"], None, 0)
    said = f"{caught.value.message} {caught.value.hint}"
    assert "a.csv" in said
    assert "\n" not in said
    for word in words:
        assert word in said


def test_two_arrays_of_one_file_with_other_columns_are_told_as_such(here):
    np.savez(here / "two.npz", x=ROWS, y=ROWS[:, :2])
    with pytest.raises(InputError, match="its arrays have 3 and 2 columns"):
        gather_rows([here / "two.npz"], None, 0)


def test_tables_of_other_columns_do_not_go_together(here):
    np.save(here / "a.npy", ROWS)
    np.save(here / "b.npy", ROWS[:, :2])
    with pytest.raises(InputError, match="2 columns"):
        gather_rows([here], None, 0)


@pytest.mark.parametrize("name", ["a.npz", "a.y4m"])
def test_files_without_an_image_are_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W20 H24 Cmono\n")
    with pytest.raises(InputError, match=f"no usable image in .*{name}': there is none"):
        gather([tmp_path / name], 4)


def test_what_is_no_array_in_an_npz_is_refused(tmp_path):
    """NumPy gives the bytes of files in it that do not begin as arrays do."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("notes.npy", "no array")
    for read in (lambda path: gather([path], 4), lambda path: gather_rows([path], None, 0)):
        with pytest.raises(InputError, match="what it calls 'notes' is no array"):
            read(tmp_path / "a.npz")
