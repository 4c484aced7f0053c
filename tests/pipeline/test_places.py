"""Which pictures a command works on, and where their results go."""

from smdae.files import fits, raw
from smdae.pipeline.places import Naming, plan
from tests.tiny import encoded, gray


def test_folders_hold_raw_files_fits_and_video_too_and_their_results_are_none(bare, monkeypatch):
    (bare / "a.dng").touch()
    monkeypatch.setattr(raw, "is_installed", lambda: True)
    (bare / "a_denoised.tif").write_bytes(encoded(gray(), "TIFF"))
    (bare / "b.png").write_bytes(encoded(gray()))
    for name in ("c.fits", "c_denoised.fits", "d.y4m", "d_denoised.y4m"):
        (bare / name).touch()
    monkeypatch.setattr(fits, "is_installed", lambda: True)
    jobs = plan([bare], Naming()).jobs
    assert [(job.source.name, job.target.name) for job in jobs] == [
        ("a.dng", "a_denoised.tif"),
        ("b.png", "b_denoised.png"),
        ("c.fits", "c_denoised.fits"),
        ("d.y4m", "d_denoised.y4m"),
    ]
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    monkeypatch.setattr(fits, "is_installed", lambda: False)
    found = plan([bare], Naming())
    assert [job.source.name for job in found.jobs] == ["b.png", "d.y4m"]
    assert "1 DNG" in found.remark
    assert "1 FITS" in found.remark
