"""Unusual picture files: odd or damaged metadata, gray with many bits, and damaged bytes."""

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib

import pytest
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from helpers.pools import ImageJob, ImageProcessor, RetryPolicy
from helpers.pools.image import ImageError, resize

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RED, BLUE = (200, 30, 30), (30, 30, 200)
KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "TIFF-LZW", "MPO"]


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def make(tmp_path, out):
    """Resize the picture in these bytes to at most 40 x 40 pixels, and return the new picture."""

    def resized(content: bytes) -> Image.Image:
        source = tmp_path / "source"
        source.write_bytes(bytes(content))
        with Image.open(resize(ImageJob("a", source, 40, 40, 95), out).path) as picture:
            picture.load()
        return picture

    return resized


def two_halves() -> Image.Image:
    """Return a picture of 80 x 40 pixels: the left half is red, the right half blue."""
    picture = Image.new("RGB", (80, 40), RED)
    picture.paste(BLUE, (40, 0, 80, 40))
    return picture


def exif(kind: int, count: int, cell: bytes, order: str = "<") -> bytes:
    """Return EXIF with one entry, the orientation, of this type, with this number of values and this value field."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return b"Exif\0\0" + head + struct.pack(order + "IHHHI", 8, 1, 0x112, kind, count) + cell.ljust(4, b"\0") + bytes(4)


def encoded(kind: str, entry: bytes, profile: bytes | None = None) -> bytes:
    """Return two halves in a file of this kind with this EXIF. A TIFF has the orientation in its own directory."""
    file, picture = io.BytesIO(), two_halves()
    options = {"icc_profile": profile} if profile else {}
    if kind.startswith("TIFF"):
        packed = "tiff_lzw" if kind == "TIFF-LZW" else "raw"
        picture.save(file, "TIFF", compression=packed, tiffinfo={0x112: 1}, **options)
        content = bytearray(file.getvalue())
        at = content.index(struct.pack("<HHI", 0x112, 3, 1))
        content[at : at + 12] = entry[16:28]
        return bytes(content)
    more = {"save_all": True, "append_images": [two_halves()]} if kind == "MPO" else {}
    picture.save(file, kind, exif=entry, **more, **options)
    return file.getvalue()


def looks_like(made: Image.Image, orientation: int) -> bool:
    """Return whether the position of the red half and the size are right. 1 and 4 cannot be distinguished."""
    size, red, blue = {
        1: ((40, 20), (5, 10), (34, 10)),
        2: ((40, 20), (34, 10), (5, 10)),
        3: ((40, 20), (34, 10), (5, 10)),
        4: ((40, 20), (5, 10), (34, 10)),
        5: ((20, 40), (10, 5), (10, 34)),
        6: ((20, 40), (10, 5), (10, 34)),
        7: ((20, 40), (10, 34), (10, 5)),
        8: ((20, 40), (10, 34), (10, 5)),
    }[orientation]
    return made.size == size and is_near(made.getpixel(red), RED) and is_near(made.getpixel(blue), BLUE)


def is_near(one, other) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(one, other, strict=True))


# --- orientation ---------------------------------------------------------------------------------------------------

UNKNOWN = {
    "0": exif(3, 1, b"\0"),
    "9": exif(3, 1, b"\x09"),
    "255": exif(3, 1, b"\xff"),
    "65535": exif(3, 1, b"\xff\xff"),
    "negative": exif(8, 1, b"\xff\xff"),
    "ASCII": exif(2, 2, b"6"),
    "ASCII without an end": exif(2, 1, b"6"),
    "BYTE": exif(1, 1, b"\6"),
    "UNDEFINED": exif(7, 1, b"\6"),
    "RATIONAL": exif(5, 1, b"\x08"),
    "RATIONAL that is nowhere": exif(5, 1, b"\xff\xff\xff\x7f"),
    "FLOAT": exif(11, 1, struct.pack("<f", 6)),
    "two values": exif(3, 2, b"\6\0\1"),
    "no value": exif(3, 0, b"\6"),
    "a million values": exif(3, 10**6, b"\6"),
    "an unknown type": exif(99, 1, b"\6"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", UNKNOWN)
def test_an_orientation_that_is_not_a_single_integer_from_1_to_8_counts_as_upright(make, capfd, kind, entry):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert looks_like(make(encoded(kind, UNKNOWN[entry])), 1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_valid_orientations_are_obeyed(make, kind, orientation):
    assert looks_like(make(encoded(kind, exif(3, 1, bytes([orientation])))), orientation)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("integer", [4, 6, 8, 9], ids=["LONG", "SBYTE", "SSHORT", "SLONG"])
def test_the_other_integer_types_of_tiff_count(make, kind, integer):
    assert looks_like(make(encoded(kind, exif(integer, 1, b"\6"))), 6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_big_endian_exif_counts(make, kind):
    assert looks_like(make(encoded(kind, exif(3, 1, b"\0\6", ">"))), 6)
    assert looks_like(make(encoded(kind, exif(4, 1, b"\0\0\0\6", ">"))), 6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
def test_truncated_exif_is_ignored(make, kind):
    whole = exif(3, 1, b"\6")
    for length in range(6, len(whole)):
        made = make(encoded(kind, whole[:length]))
        assert looks_like(made, 6 if length >= 28 else 1), length  # from 28 bytes on, the entry is complete


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_invalid_exif_is_ignored(make, kind):
    for content in (b"", b"II", bytes(300), bytes(range(256)), b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        assert looks_like(make(encoded(kind, b"Exif\0\0" + content)), 1), content
    big = b"Exif\0\0II\x2b\0\x08\0\0\0" + struct.pack("<Q", 2**63) + bytes(64)
    assert looks_like(make(encoded(kind, big)), 1)


def test_exif_that_pillow_refuses_still_turns_the_picture(make):
    entries = [(0x112, 3, b"\6"), (0x11A, 2, b""), (0x128, 3, b"\2")]  # a resolution that is an empty text
    packed = b"".join(struct.pack("<HHI", tag, kind, 1) + cell.ljust(4, b"\0") for tag, kind, cell in entries)
    assert looks_like(make(encoded("JPEG", b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + packed + bytes(4))), 6)


def test_the_orientation_of_xmp_counts_if_exif_has_none(make):
    def with_xmp(value: str) -> bytes:
        file = io.BytesIO()
        two_halves().save(file, "JPEG", xmp=f'<rdf:Description tiff:Orientation="{value}"/>'.encode())
        return file.getvalue()

    assert looks_like(make(with_xmp("6")), 6)
    for value in ("0", "9", "66", "", "x", "-6"):
        assert looks_like(make(with_xmp(value)), 1), value


# --- color profiles and other metadata -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_profile_is_kept(make, kind):
    made = make(encoded(kind, exif(3, 1, b"\6"), SRGB))
    assert made.info["icc_profile"] == SRGB and looks_like(made, 6)


BAD_PROFILES = {
    "one byte": b"x",
    "zeros": bytes(3000),
    "truncated": SRGB[:300],
    "without its signature": SRGB[:36] + b"????" + SRGB[40:],
    "for CMYK": SRGB[:16] + b"CMYK" + SRGB[20:],
    "5 MB": struct.pack(">I", 5 * 2**20) + SRGB[4:] + bytes(5 * 2**20 - len(SRGB)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", BAD_PROFILES)
def test_a_damaged_or_oversized_profile_is_ignored(make, kind, profile):
    made = make(encoded(kind, exif(3, 1, b"\6"), BAD_PROFILES[profile]))
    assert "icc_profile" not in made.info and looks_like(made, 6)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


BAD_CHUNKS = {
    "wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "text of 50 MB": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000))),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0junk"),
    "resolution": chunk(b"pHYs", b"1"),
    "gamma": chunk(b"gAMA", b""),
    "animation": chunk(b"acTL", b"1"),
    "frame": chunk(b"fcTL", b"1"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
@pytest.mark.parametrize("place", ["before the pixels", "after the pixels"])
def test_a_damaged_chunk_of_a_png_counts_as_absent(make, name, place):
    content = encoded("PNG", exif(3, 1, b"\6"), SRGB)
    at = 33 if place == "before the pixels" else len(content) - 12
    made = make(content[:at] + BAD_CHUNKS[name] + content[at:])
    assert looks_like(made, 6) and made.info["icc_profile"] == SRGB


def test_a_damaged_profile_chunk_of_a_png_counts_as_absent(make):
    content = encoded("PNG", exif(3, 1, b"\6"))
    for inside in (b"", b"name", b"name\0\7junk", b"name\0\0junk", b"name\0\0" + zlib.compress(bytes(50_000_000))):
        made = make(content[:33] + chunk(b"iCCP", inside) + content[33:])
        assert looks_like(made, 6) and "icc_profile" not in made.info, inside[:20]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


BAD_SEGMENTS = {
    "JFIF": segment(0xE0, b"JFIF\0"),
    "Adobe": segment(0xEE, b"Adobe"),
    "MPO index": segment(0xE2, b"MPF\0junk"),
    "MPO index of text": segment(
        0xE2, b"MPF\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHI4s", 0xB001, 2, 1, b"3") + bytes(4)
    ),
    "Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\3"),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe"),
    "comment": segment(0xFE, b""),
}


@pytest.mark.parametrize("name", BAD_SEGMENTS)
def test_a_damaged_segment_of_a_jpeg_counts_as_absent(make, name):
    content = encoded("JPEG", exif(3, 1, b"\6"), SRGB)
    made = make(content[:2] + BAD_SEGMENTS[name] + content[2:])
    assert looks_like(made, 6) and made.info["icc_profile"] == SRGB


@pytest.mark.parametrize("inside", [b"", b"\1", b"\1\5abc", b"\0\0"])
def test_a_damaged_profile_segment_of_a_jpeg_counts_as_absent(make, inside):
    content = encoded("JPEG", exif(3, 1, b"\6"))
    made = make(content[:2] + segment(0xE2, b"ICC_PROFILE\0" + inside) + content[2:])
    assert looks_like(made, 6) and "icc_profile" not in made.info


def test_metadata_that_is_cut_off_at_the_end_of_a_webp_counts_as_absent(make):
    content = encoded("WEBP", exif(3, 1, b"\6"), SRGB)
    for missing in range(1, len(content) - content.index(b"EXIF") + 1):
        made = make(content[:-missing])
        assert made.info["icc_profile"] == SRGB and (looks_like(made, 1) or looks_like(made, 6)), missing


@pytest.mark.parametrize("tag", [282, 283, 296, 305, 700, 34665, 34675, 34853])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7, 99])
def test_a_tag_of_a_tiff_that_is_not_about_pixels_can_be_anything(make, capfd, tag, kind):
    content = bytearray(encoded("TIFF-LZW", exif(3, 1, b"\6")))
    directory = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, directory)[0]
    entries = [bytes(content[directory + 2 + 12 * n :][:12]) for n in range(count)]
    entries.append(struct.pack("<HHII", tag, kind, 5, 2**31 - 1))
    moved = (
        struct.pack("<H", count + 1) + b"".join(sorted(entries, key=lambda e: struct.unpack_from("<H", e))) + bytes(4)
    )
    struct.pack_into("<I", content, 4, len(content))
    assert looks_like(make(content + moved), 6)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_about_damaged_metadata(tmp_path, out):
    (tmp_path / "a").write_bytes(encoded("JPEG", exif(3, 10**6, b"\6")))
    (tmp_path / "b").write_bytes(encoded("TIFF-LZW", exif(3, 1, b"\x09")))
    (tmp_path / "c").write_bytes(encoded("PNG", exif(3, 2, b"\6")))
    code = (
        "import sys\nfrom helpers.pools import ImageJob, ImageProcessor\n"
        "with ImageProcessor(output=sys.argv[2]) as service:\n"
        "    print([r.ok for r in service.stream(ImageJob(n, sys.argv[1] + '/' + n, 9, 9) for n in 'abc')])"
    )
    command = [sys.executable, "-W", "always::UserWarning", "-c", code, tmp_path, out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[True, True, True]\n", "")


# --- gray with many bits, and other modes --------------------------------------------------------------------------


def gray(mode: str, *values: float) -> bytes:
    """Return a TIFF of mode F, I, or I;16 with vertical bars of these values, each 10 pixels wide."""
    form = {"F": "<10f", "I": "<10i", "I;16": "<10H"}[mode]
    rows = b"".join(struct.pack(form, *[value] * 10) for value in values) * 10
    picture, file = Image.frombytes(mode, (10 * len(values), 10), rows), io.BytesIO()
    picture.save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "values", "levels"),
    [
        ("F", (0.0, 0.25, 1.0), (0, 64, 255)),
        ("F", (0.5, 0.5, 0.5), (128, 128, 128)),
        ("F", (0.0, 64.0, 255.0), (0, 64, 255)),
        ("F", (0.0, 16448.0, 65535.0), (0, 64, 255)),
        ("F", (0.0, 0.0, 0.0), (0, 0, 0)),
        ("I", (0, 64, 255), (0, 64, 255)),
        ("I", (0, 1028, 4095), (0, 64, 255)),
        ("I", (0, 16448, 65535), (0, 64, 255)),
        ("I", (0, 0, 1), (0, 0, 255)),
        ("I;16", (0, 16448, 65535), (0, 64, 255)),
        ("I;16", (0, 1028, 4095), (0, 64, 255)),
        ("I;16", (0, 64, 255), (0, 64, 255)),
        ("I;16", (8224, 8224, 8224), (32, 32, 32)),
    ],
)
def test_deep_gray_is_scaled_to_the_smallest_usual_range_that_holds_it(make, mode, values, levels):
    made = make(gray(mode, *values))
    assert made.mode == "L"
    for n, level in enumerate(levels):
        assert made.getpixel((10 * n + 5, 5)) == pytest.approx(level, abs=3)


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("F", (0.0, 1.02)),
        ("F", (-0.5, 0.5)),
        ("F", (0.0, 0.001)),
        ("F", (0.0, 1e30)),
        ("F", (0.0, float("nan"))),
        ("F", (float("nan"), 0.5)),
        ("F", (0.5, float("inf"))),
        ("F", (float("-inf"), 0.5)),
        ("I", (0, 100_000)),
        ("I", (-1, 255)),
        ("I", (-(2**31), 2**31 - 1)),
        ("I;16", (0, 9)),
    ],
)
def test_deep_gray_that_fits_no_usual_range_is_refused(make, mode, values):
    with pytest.raises(
        ImageError, match="its values must (fill one of the ranges 0 to 1, 0 to 255|be finite)"
    ) as error:
        make(gray(mode, *values))
    assert error.value.permanent and str(error.value).startswith("a (source): ")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB"])
def test_the_usual_modes_of_a_tiff_keep_dark_and_bright_apart(make, mode):
    picture, file = Image.new("L", (80, 40), 0), io.BytesIO()
    picture.paste(255, (40, 0, 80, 40))
    picture.convert("RGB" if mode in ("P", "LAB") else "L").convert(mode).save(file, "TIFF")
    made = make(file.getvalue()).convert("L")
    assert made.getpixel((5, 10)) < 60 and made.getpixel((34, 10)) > 200


def test_transparent_gray_with_premultiplied_alpha_is_put_on_white(make):
    file = io.BytesIO()
    Image.new("LA", (80, 40), (100, 0)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    at = content.index(struct.pack("<HHI", 338, 3, 1))
    content[at + 8] = 1  # the extra channel is alpha by which the gray has been multiplied
    try:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.mode == "La"
    except UnidentifiedImageError:
        pytest.skip("this version of Pillow does not read such a TIFF")
    assert is_near(make(content).getpixel((20, 10)), (255, 255, 255))


# --- damaged files -------------------------------------------------------------------------------------------------


def seeds() -> dict[str, bytes]:
    """Return a small picture in every supported format, with all kinds of metadata."""
    found = Image.Exif()
    found[0x112], found[0x10E], found[0x11A], found[0x128] = 6, "a picture", 72.0, 2
    text = PngInfo()
    text.add_text("Title", "a" * 300, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    rich = {"exif": found, "icc_profile": SRGB}
    frames = {"save_all": True, "append_images": [Image.new("RGB", (48, 24), "teal")]}
    wanted = {
        "jpeg": ("RGB", "JPEG", rich | {"comment": b"hello"}),
        "progressive": ("L", "JPEG", {"progressive": True, "exif": found}),
        "cmyk": ("CMYK", "JPEG", {"exif": found}),
        "mpo": ("RGB", "MPO", frames | rich),
        "png": ("RGB", "PNG", rich | {"pnginfo": text}),
        "png-palette": ("P", "PNG", {"transparency": 3}),
        "png-deep": ("I;16", "PNG", {}),
        "apng": ("RGB", "PNG", frames),
        "webp": ("RGB", "WEBP", rich),
        "webp-lossless": ("RGBA", "WEBP", {"lossless": True}),
        "gif": ("P", "GIF", frames | {"transparency": 2}),
        "bmp": ("RGB", "BMP", {}),
        "bmp-palette": ("P", "BMP", {}),
        "tiff": ("RGB", "TIFF", rich),
        "tiff-big": ("RGB", "TIFF", rich | {"big_tiff": True}),
        "tiff-float": ("F", "TIFF", {}),
        "tiff-palette": ("P", "TIFF", {}),
        "tiff-lzw": ("RGB", "TIFF", rich | {"compression": "tiff_lzw"}),
        "tiff-jpeg": ("RGB", "TIFF", rich | {"compression": "jpeg"}),
        "tiff-fax": ("1", "TIFF", {"compression": "group4"}),
    }
    noise, files = Image.linear_gradient("L").resize((48, 24)), {}
    for name, (mode, kind, options) in wanted.items():
        file = io.BytesIO()
        (noise.convert("I").convert(mode) if mode == "I;16" else noise.convert(mode)).save(file, kind, **options)
        files[name] = file.getvalue()
    return files


SEEDS = seeds()


def damaged(content: bytes, random: random.Random) -> bytes:
    """Return a truncated copy, or a copy with up to eight wrong bytes, often in the headers at its start or end."""
    if random.random() < 0.25:
        return content[: random.randrange(len(content))]
    changed = bytearray(content)
    first, end = random.choice(
        [(0, len(content)), (0, min(400, len(content))), (max(0, len(content) - 600), len(content))]
    )
    for _ in range(random.choice([1, 2, 8])):
        changed[random.randrange(first, end)] = random.choice([0, 0x7F, 0xFF, random.randrange(256)])
    return bytes(changed)


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SEEDS)
def test_damaged_bytes_lead_to_a_picture_or_to_a_permanent_error_that_names_the_file(tmp_path, out, name, count):
    chance = random.Random(name)
    source, outcomes = tmp_path / "source.pic", []
    for content in [SEEDS[name], b"", *(damaged(SEEDS[name], chance) for _ in range(count))]:
        source.write_bytes(content)
        try:
            made = resize(ImageJob("a", source, 20, 20), out)
            assert 1 <= made.width <= 20 and 1 <= made.height <= 20
            outcomes.append(True)
        except ImageError as error:
            assert error.permanent is True and str(error).startswith("a (source.pic): "), repr(error)
            assert len(str(error)) > len("a (source.pic): ")
            outcomes.append(False)
    assert outcomes[:2] == [True, False]
    assert [path.name for path in out.iterdir()] == ["a_20x20.jpg"]


STEPS = {  # where Pillow can raise
    "open": (Image, "open"),
    "load": (ImageFile.ImageFile, "load"),
    "save": (Image.Image, "save"),
}


@pytest.mark.parametrize(
    "raised",
    [
        *(struct.error("x"), KeyError(33), IndexError("x"), ZeroDivisionError("x"), AssertionError(), zlib.error("x")),
        *(
            RecursionError("x"),
            AttributeError("x"),
            NotImplementedError(),
            RuntimeError("x"),
            EOFError(),
            LookupError(),
        ),
        *(ValueError(), OSError("x"), OSError(22, "Invalid argument"), Image.DecompressionBombWarning("x")),
        *(UserWarning("x"), StopIteration(), SyntaxError("x"), UnicodeDecodeError("utf-8", b"", 0, 1, "x")),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", STEPS)
def test_every_exception_of_pillow_is_a_permanent_image_error(tmp_path, out, monkeypatch, raised, step):
    (tmp_path / "a.png").write_bytes(SEEDS["png"])

    def fail(*args, **options):
        raise raised

    monkeypatch.setattr(*STEPS[step], fail)
    with ImageProcessor(workers=1, output=out, policy=RetryPolicy(5, 0.01, 0.01)) as service:
        [result] = service.stream([ImageJob("a", tmp_path / "a.png", 20, 20)])
    assert type(result.error) is ImageError and result.error.permanent is True and result.attempt == 1
    assert str(result.error).startswith("a (a.png): ") and not str(result.error).endswith(": ")
    assert result.error.__cause__ is raised and list(out.iterdir()) == []


@pytest.mark.parametrize("raised", [OSError(28, "No space left on device"), PermissionError(13, "no"), MemoryError()])
@pytest.mark.parametrize("step", STEPS)
def test_an_error_of_the_system_is_retried(tmp_path, out, monkeypatch, raised, step):
    (tmp_path / "a.png").write_bytes(SEEDS["png"])
    owner, name = STEPS[step]
    real, calls = getattr(owner, name), []

    def fail_once(*args, **options):
        calls.append(1)
        if len(calls) == 1:
            raise raised
        return real(*args, **options)

    monkeypatch.setattr(owner, name, fail_once)
    with ImageProcessor(workers=1, output=out, policy=RetryPolicy(5, 0.01, 0.01)) as service:
        service.submit(ImageJob("a", tmp_path / "a.png", 20, 20))
        [result] = (service.shutdown(), *service.results())[1:]
    assert result.ok and result.attempt == 2 and result.attempts[0].error.permanent is False


class Hostile:
    """A path that can neither be used nor converted to text."""

    def __fspath__(self):
        raise KeyError("path")

    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __repr__


@pytest.mark.parametrize("source", [Hostile(), 10**6, True, 2.5, [], object(), "x" * 5000, "\ud800", b"\xff"])
def test_a_source_that_is_not_a_usable_path_is_an_image_error(out, source):
    with pytest.raises(ImageError) as error:
        resize(ImageJob("a", source, 20, 20), out)
    assert str(error.value).startswith("a (") and len(str(error.value)) < 800


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/zero")
def test_an_endless_file_is_refused(out):
    with pytest.raises(ImageError, match="not a picture"):
        resize(ImageJob("a", "/dev/zero", 20, 20), out)
