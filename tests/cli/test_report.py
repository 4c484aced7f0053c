"""`denoise --report`: one page that needs nothing else, escaped, whose slider and zoom work in a real browser."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.cli.app import main
from smdae.pipeline import report_page
from tests.tiny import complaint, encoded, everything_below, gray, model_bytes
from tests.webdriver import browser, needs_browser

HOSTILE = "<script>alert(1)</script>&'\".png".replace("/", "")


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    (bare / "in").mkdir()
    (bare / "in" / HOSTILE).write_bytes(encoded(gray(40, 60)))
    (bare / "in" / "b.png").write_bytes(encoded(gray(40, 60, seed=1)))
    (bare / "in" / "bad.png").write_bytes(b"nonsense")
    return bare


def denoise(*arguments):
    return main(["denoise", *map(str, arguments), "-s", "20"])


class Page(HTMLParser):
    """The tags, the attributes and the texts of a page; tags must close as they open."""

    def __init__(self, file):
        super().__init__()
        self.open, self.tags, self.values, self.texts = [], [], [], []
        self.feed(Path(file).read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.values += attributes
        if tag not in ("meta", "img", "input", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_has_a_table_and_the_pictures_and_loads_nothing(here, capsys):
    (here / "out").mkdir()
    assert denoise("in", "-o", "out", "--report", "r.html") == 9
    err = capsys.readouterr().err
    assert "smdae: report 'r.html'" in err.splitlines()
    page = Page("r.html")
    text = "\n".join(page.texts)
    assert "2 denoised, 1 failed" in text
    assert text.count(f"in/{HOSTILE}") == 2  # in the table, and as a title
    assert "failed: 'in/bad.png' is not an image" in text
    assert page.tags.count("script") == 1
    assert page.tags.count("table") == 1
    assert page.tags.count("img") == 6
    assert page.tags.count("svg") == 2
    sources = [value for name, value in page.values if name in ("src", "href")]
    assert all(value.startswith(("data:image/png;base64,", "#p")) for value in sources)
    assert re.search(r"https?:|//\w", re.sub("base64,[^']*", "", Path("r.html").read_text())) is None
    before, after = (
        np.array(Image.open(BytesIO(base64.b64decode(value.partition(",")[2]))))
        for value in [value for value in sources if value.startswith("data")][1::-1]
    )
    name = sorted([HOSTILE, "b.png"])[0]
    np.testing.assert_array_equal(before, np.array(Image.open(here / "in" / name)))
    np.testing.assert_array_equal(after, np.array(Image.open(here / "out" / name)))


@pytest.mark.parametrize(
    ("report", "code", "word"),
    [("old.html", 4, "-y"), ("r.png", 2, ".html"), ("no/r.html", 4, "no"), ("in", 2, ".html")],
)
def test_a_report_that_cannot_be_written_is_refused_before_any_work(here, report, code, word, capsys):
    Path("old.html").write_text("old")
    before = everything_below(here)
    assert denoise("in/b.png", "--report", report) == code
    assert word in complaint(capsys.readouterr().err)
    assert everything_below(here) == before
    assert denoise("in/b.png", "--report", "old.html", "-y") == 0
    assert "b.png" in Path("old.html").read_text()


def test_a_dry_run_names_the_report_and_writes_none(capsys):
    assert denoise("in/b.png", "--report", "r.html", "--dry-run") == 0
    assert "-> r.html" in capsys.readouterr().out.splitlines()
    assert not Path("r.html").exists()


def test_a_stack_is_shown_by_its_first_page():
    tifffile.imwrite("s.tif", np.stack([gray(seed=seed) for seed in range(3)]), photometric="minisblack")
    assert denoise("s.tif", "--report", "r.html") == 0
    text = "\n".join(Page("r.html").texts)
    assert "32 x 24, page 1 of 3" in text


def test_a_file_without_anything_to_denoise_has_a_row():
    Path("in/bits.tif").write_bytes(encoded(gray() > 128, "TIFF"))
    assert denoise("in", "-o", "out", "--report", "r.html") == 9
    assert "in/bits.tif" in Page("r.html").texts


def test_the_table_has_levels_in_the_unit_of_the_words_beside_the_picture():
    record = {"output": "o.tif", "psnr_estimated": None, "psnr_estimated_error": None, "doubts": []}
    words = ("shot, sigma 8.4 (3.9 in shadows, 12.5 in highlights)", "white, sigma 28.1", "none")
    levels = (8.41, 28.13, 0.0)
    noise = [{"kind": text.split(",")[0], "described": text, "sigma": levels[k]} for k, text in enumerate(words)]
    one = record | {"input": "one.tif", "sigma": 0.0315, "noise": noise[0]}
    many = record | {"input": "many.tif", "sigma": [0.0315, 0.2, 0.0], "noise": noise}
    Path("r.html").write_bytes(report_page.page([one, many], []))
    texts = Page("r.html").texts
    assert "8.4" in texts
    assert "0 to 28.1" in texts
    assert not any("0.0315" in text for text in texts)


def test_of_videos_none_is_promised():
    video = {"input": "a.y4m", "output": "b.y4m", "frames": 3, "model": {}, "device": "cpu"}
    Path("r.html").write_bytes(report_page.page([video], []))
    assert "shown" not in "".join(text for text in Page("r.html").texts if "denoised" in text)


def test_warnings_and_doubts_are_in_the_page():
    dark = (gray(64, 64).astype(int) - 128).clip(0, 255).astype("uint8")
    Path("dark.png").write_bytes(encoded(dark))
    assert main(["denoise", "dark.png", "-s", "60", "--report", "r.html"]) == 0
    text = "\n".join(Page("r.html").texts)
    assert "the result may be poor: sigma 60 is far from 25" in text
    assert "the PSNR is not estimated: " in text


@needs_browser
def test_slider_zoom_and_residual_work_in_a_browser(here):
    assert denoise("in", "-o", "out", "--report", "r.html") == 9
    with browser() as page:
        for width, height in ((1280, 900), (500, 844)):
            page.open(here / "r.html", width, height)
            assert page.run("return document.documentElement.scrollWidth <= innerWidth")
            assert page.run("return [...document.images].every(image => image.complete && image.naturalWidth == 60)")
            assert page.run("return document.querySelectorAll('script').length") == 1
            clip = "return getComputedStyle(document.querySelector('.before')).clipPath"
            assert "50%" in page.run(clip)
            slide = (
                "const range = document.querySelector('.pair input'); range.value = 20;"
                "range.dispatchEvent(new Event('input'));"
            )
            page.run(slide)
            assert "80%" in page.run(clip)
            page.run("document.querySelector('[data-zoom=\"8\"]').click()")
            size = "return document.querySelector('.after').getBoundingClientRect().width * devicePixelRatio"
            assert page.run(size) == pytest.approx(480)
            seen = "return getComputedStyle(document.querySelector('.residual')).visibility"
            assert page.run(seen) == "hidden"
            page.run("document.querySelector('[data-residual]').click()")
            assert page.run(seen) == "visible"
            assert page.run("return document.querySelector('a[href=\"#p0\"]').textContent").startswith("in/")
        assert page.log() == []
