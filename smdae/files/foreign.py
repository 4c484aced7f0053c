"""Formats of pictures that smdae does not read, or `denoise` alone: how each is known, and what can be done.

Most are known by their first bytes. Camera raw files are often TIFFs to look at, whose first picture is a thumbnail, so
there the name decides.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Foreign:
    """A format that is not read everywhere.

    Attributes:
        name: The name of such a file with its article, as in "a PDF".
        advice: How to convert such a file, or what reads it.
        endings: The endings of such files, in lower case.
        reader: The words before "it" in the refusal: which part of smdae reads it, or that none does.
    """

    name: str
    advice: str
    endings: tuple[str, ...] = ()
    signatures: tuple[bytes, ...] = ()
    is_tiff: bool = False
    reader: str = "smdae does not read"


AS_PNG = "save it as a PNG or a TIFF first"
FRAMES = "save its frames as PNG first, for example with ffmpeg"
EXPORT = "export it as OME-TIFF first, for example with bfconvert or Fiji"
DENOISE = "only smdae denoise reads"
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FOREIGN = (
    Foreign(
        "a camera raw file",
        "develop it first: smdae denoise FILE --strength 0, with the extra smdae[raw]",
        (".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr", ".iiq"),
        (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),
        is_tiff=True,
        reader=DENOISE,
    ),
    Foreign("a Zeiss CZI file", EXPORT, (".czi",), (b"ZISRAWFILE",)),
    Foreign("a Nikon ND2 file", EXPORT, (".nd2",), (b"\xda\xce\xbe\x0a",)),
    Foreign("a Leica LIF file", EXPORT, (".lif",)),
    Foreign("an Olympus file", EXPORT, (".oib", ".oif", ".vsi")),
    Foreign("an MRC file", EXPORT, (".mrc", ".mrcs")),
    Foreign("an HDF5 file", "save its arrays as .npy or TIFF first", (".h5", ".hdf5", ".ims"), (b"\x89HDF\r\n\x1a\n",)),
    Foreign("an archive of arrays", "save each of its arrays with numpy.save first", (".npz",)),
    Foreign("an archive", "unpack it first", (".zip", ".7z", ".tar", ".rar"), (b"7z\xbc\xaf", b"Rar!")),
    Foreign("a DICOM file", "save its pixels as .npy or TIFF first, for example with pydicom", (".dcm", ".dicom")),
    Foreign("a NIfTI file", "save its planes as .npy or TIFF first, for example with nibabel", (".nii",)),
    Foreign("a gzip file", "unpack it first, for example with gunzip -k", (".gz",), (b"\x1f\x8b",)),
    Foreign("an xz file", "unpack it first, for example with unxz -k", (".xz",), (b"\xfd7zXZ\0",)),
    Foreign("a bzip2 file", "unpack it first, for example with bunzip2 -k", (".bz2",), (b"BZh",)),
    Foreign("a PDF", "save its pages as PNG first, for example with pdftoppm", (".pdf",), (b"%PDF",)),
    Foreign("a PFM", AS_PNG, (".pfm",), (b"Pf\n", b"PF\n")),
    Foreign("a Photoshop file", AS_PNG, (".psd",), (b"8BPS",)),
    Foreign("a GIMP file", AS_PNG, (".xcf",), (b"gimp xcf",)),
    Foreign("an OpenEXR", AS_PNG, (".exr",), (b"v/1\x01",)),
    Foreign("a Radiance file", AS_PNG, (), (b"#?RADIANCE", b"#?RGBE")),
    Foreign("a TGA", AS_PNG, (".tga",)),
    Foreign("a DjVu", "save its pages as PNG first, for example with ddjvu", (".djvu", ".djv"), (b"AT&TFORM",)),
    Foreign("a drawing in SVG", "there is no noise in it", (".svg",)),
    Foreign("a table", "fit a density to its rows: smdae fit FILE", (".csv", ".tsv"), reader="is not read here"),
    Foreign(
        "a FITS",
        "smdae denoise, info and fit read it, with the extra smdae[fits]",
        (".fits", ".fit", ".fts"),
        (b"SIMPLE  =",),
        reader="is not read here",
    ),
)
RAW, *_ = FOREIGN
LIF = next(kind for kind in FOREIGN if ".lif" in kind.endings)
VIDEO = Foreign("a video or another file of that family", FRAMES)
ARCHIVE = next(kind for kind in FOREIGN if ".zip" in kind.endings)
ZIP = b"PK\3\4"  # also of arrays in .npz
BRANDS = {b"crx ": RAW}


def foreign(head: bytes, name: str, known: bool) -> Foreign | None:
    """Return the format of a file, if it is one that is not read; None for others.

    Args:
        head: The first bytes of the file, 16 or more if it has them.
        name: The name of the file, or any other text if it has none.
        known: Whether the first bytes are those of a format that is read.
    """
    named = _named(Path(name).suffix.lower())
    if known:  # a picture under a wrong name is read, but a TIFF that is called raw is no picture yet
        is_raw = head[8:10] == b"CR" or (named is not None and named.is_tiff)
        return RAW if is_raw and head.startswith(TIFFS) else None
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], named or VIDEO)
    if head.startswith(ZIP):
        return named or ARCHIVE
    if head[:4] == b"\x70\0\0\0" and head[8:9] == b"\x2a":
        return LIF
    return next((kind for kind in FOREIGN if head.startswith(kind.signatures)), named)


def advice_for(ending: str) -> str | None:
    """Return advice on converting files with an ending, such as .cr2 or .CR2; None if the ending is not known here."""
    named = _named(ending.lower())
    return None if named is None else named.advice


def _named(ending: str) -> Foreign | None:
    return next((kind for kind in FOREIGN if ending in kind.endings), None)
