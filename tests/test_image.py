"""The resize service: the eight jobs of the article, bad jobs, and no incomplete files after a stop."""

import io
import struct
import subprocess
import sys
import threading
import time
import zlib

import pytest
from conftest import wait_until
from PIL import Image, ImageCms, ImageDraw, ImageFont

from helpers.pools import ImageJob, ImageProcessor, JobCancelled
from helpers.pools.image import MAX_PIXELS, ImageError, resize
from helpers.services import PHOTOS, write_photo
from helpers.services.photos import truncate, write_bomb

SIZES = [
    (800, 600, 85),
    (1200, 800, 90),
    (1920, 1080, 95),
    (640, 480, 80),
    (5000, 3000, 90),
    (2560, 1440, 85),
    (3840, 2160, 90),
    (1024, 768, 85),
]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return write_photo(tmp_path_factory.mktemp("photos") / "photo.jpg", 3, 640, 480)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def opened(path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture


def unfinished(out) -> list[str]:
    return [path.name for path in out.iterdir() if path.suffix != ".jpg"]


# --- correct results -----------------------------------------------------------------------------------------------


def test_the_eight_jobs_of_the_article(out):
    jobs = [ImageJob(f"img{n:03}", PHOTOS / f"photo{n}.jpg", *size) for n, size in enumerate(SIZES, start=1)]
    with ImageProcessor(workers=3, output=out) as service:
        results = {r.job.image_id: r for r in service.stream(jobs)}
    assert [name for name, r in sorted(results.items()) if not r.ok] == ["img005"]
    assert str(results["img005"].error) == "img005 (photo5.jpg): max width is 4000 px, not 5000"
    for name, r in results.items():
        if r.ok:
            assert r.value.path == out / f"{name}_{r.job.width}x{r.job.height}.jpg"
            assert opened(r.value.path).size == (r.value.width, r.value.height)
            assert r.value.width <= r.job.width and r.value.height <= r.job.height
            assert r.value.width == r.job.width or r.value.height == r.job.height, (
                "it fills the box in width or in height"
            )
            assert r.value.original_size == (PHOTOS / f"photo{name[-1]}.jpg").stat().st_size
            assert r.value.new_size == r.value.path.stat().st_size
    assert (results["img004"].value.width, results["img004"].value.height) == (320, 480), "upright, as its EXIF says"
    assert len(list(out.iterdir())) == 7


def test_a_job_that_breaks_a_rule_is_refused_before_its_file_is_opened(out):
    with pytest.raises(ImageError, match="max width is 4000 px, not 5000"):
        resize(ImageJob("img005", out / "not even there.jpg", 5000, 3000), out)


@pytest.mark.parametrize(("box", "size"), [((320, 480), (320, 240)), ((64, 480), (64, 48)), ((1, 1), (1, 1))])
def test_a_picture_fits_into_its_box_and_keeps_its_shape(photo, out, box, size):
    made = resize(ImageJob("a", photo, *box), out)
    assert (made.width, made.height) == size == opened(made.path).size


def test_a_picture_is_never_enlarged(photo, out):
    made = resize(ImageJob("a", photo, 4000, 4000), out)
    assert (made.width, made.height) == (640, 480)


def test_the_new_picture_looks_like_the_old_one(photo, out):
    made = opened(resize(ImageJob("a", photo, 160, 120, 95), out).path)
    plain = opened(photo).resize((160, 120), Image.Resampling.LANCZOS)
    assert mean_difference(made, plain) < 3


@pytest.mark.parametrize(
    ("kind", "box"), [("png", (400, 300)), ("png", (240, 320)), ("png", (61, 49)), ("jpg", (61, 49))]
)
def test_small_letters_are_nearly_as_sharp_as_in_a_copy_made_from_all_pixels(tmp_path, out, kind, box):
    page = Image.new("RGB", (2000, 1500), "white")
    drawing, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    for line in range(58):
        drawing.text((30, 20 + 25 * line), "The quick brown fox jumps over the lazy dog. " * 4, font=font, fill="black")
    page.save(source := tmp_path / f"page.{kind}", quality=95)
    made = opened(resize(ImageJob("a", source, *box, 100), out).path)
    exact = page.resize(made.size, Image.Resampling.LANCZOS)
    assert mean_difference(made, exact) < 2, "with `thumbnail(reducing_gap=1)`, it is between 5 and 10"


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (one.width * one.height * 3)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_rotated_picture_becomes_upright(tmp_path, out, orientation, kind):
    upright = opened(write_photo(tmp_path / "upright.jpg", 3, 160, 90))
    turned = write_photo(tmp_path / "turned.jpg", 3, 160, 90, orientation=orientation)
    if kind == "PNG":
        with Image.open(turned) as picture:
            picture.save(tmp_path / "turned.png", exif=picture.getexif())
        turned = tmp_path / "turned.png"
    made = resize(ImageJob("a", turned, 80, 80, 95), out)
    assert (made.width, made.height) == (80, 45)
    assert mean_difference(opened(made.path), upright.resize((80, 45), Image.Resampling.LANCZOS)) < 4
    assert not opened(made.path).getexif(), "all other metadata of the camera is private"


def test_the_color_profile_is_kept_and_a_comment_is_not(tmp_path, out):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "a.jpg", icc_profile=profile, comment=b"taken at home")
    made = opened(resize(ImageJob("a", tmp_path / "a.jpg", 30, 30), out).path)
    assert made.info["icc_profile"] == profile and not made.info.get("comment")
    Image.new("CMYK", (90, 60)).save(tmp_path / "b.jpg", icc_profile=profile.replace(b"RGB ", b"CMYK"))
    assert "icc_profile" not in opened(resize(ImageJob("b", tmp_path / "b.jpg", 30, 30), out).path).info


def picture_of(mode: str) -> Image.Image:
    """Return a picture of 40 x 20 pixels. The left half is dark (64), the right half bright (192) or transparent."""
    if mode == "I;16":
        picture = Image.new("I;16", (40, 20), 64 * 257)
        picture.paste(192 * 257, (20, 0, 40, 20))
        return picture
    grey = Image.new("L", (40, 20), 64)
    grey.paste(192, (20, 0, 40, 20))
    if mode in ("RGBA", "LA"):
        picture = grey.convert(mode)
        picture.putalpha(grey.point(lambda value: 255 if value < 100 else 0))
        return picture
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind", "new", "right"),
    [
        ("L", "JPEG", "L", 192),
        ("L", "PNG", "L", 192),
        ("1", "PNG", "L", 192),
        ("P", "GIF", "RGB", 192),
        ("CMYK", "JPEG", "RGB", 192),
        ("CMYK", "TIFF", "RGB", 192),
        ("I;16", "PNG", "L", 192),
        ("I;16", "TIFF", "L", 192),
        ("RGBA", "PNG", "RGB", 255),
        ("RGBA", "WEBP", "RGB", 255),
        ("LA", "PNG", "RGB", 255),
        ("RGB", "BMP", "RGB", 192),
    ],
)
def test_every_kind_of_picture_becomes_a_jpeg_of_the_same_colors(tmp_path, out, mode, kind, new, right):
    source = tmp_path / f"a.{kind.lower()}"
    picture_of(mode).save(source, kind)
    made = opened(resize(ImageJob("a", source, 20, 20, 95), out).path)
    assert (made.mode, made.format, made.size) == (new, "JPEG", (20, 10))
    dark, bright = made.convert("L").getpixel((4, 5)), made.convert("L").getpixel((15, 5))
    assert dark == pytest.approx(64, abs=8) and bright == pytest.approx(right, abs=8)


def test_a_transparent_palette_is_put_on_white(tmp_path, out):
    picture = Image.new("P", (40, 20), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (20, 0, 40, 20))
    picture.save(tmp_path / "a.png", transparency=0)
    made = opened(resize(ImageJob("a", tmp_path / "a.png", 20, 20, 95), out).path)
    assert all(abs(a - b) < 20 for a, b in zip(made.getpixel((4, 5)), (255, 255, 255), strict=True))
    assert made.getpixel((15, 5))[2] > 200


def test_the_first_frame_of_an_animation_is_used(tmp_path, out):
    frames = [Image.new("RGB", (40, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    made = opened(resize(ImageJob("a", tmp_path / "a.gif", 20, 20, 95), out).path)
    assert made.getpixel((5, 5))[0] > 200


# --- bad input -----------------------------------------------------------------------------------------------------


def bad_png(width: int, height: int) -> bytes:
    """Return a PNG that has only a header, which says that it is too large."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def test_a_bad_file_is_an_error_of_its_own_that_names_it(photo, tmp_path, out):
    files = {
        "text": (lambda path: path.write_text("no picture"), "not a picture in one of the formats JPEG"),
        "empty": (lambda path: path.write_bytes(b""), "not a picture"),
        "half": (lambda path: truncate(photo, path), "cannot be read: image file is truncated"),
        "start": (lambda path: path.write_bytes(photo.read_bytes()[:300]), r"\(start\)"),
        "bomb": (write_bomb, "the picture has 900,000,000 pixels; the limit is 89,478,485"),
        "large": (
            lambda path: path.write_bytes(bad_png(10_000, MAX_PIXELS // 10_000 + 1)),
            "the picture has 89,480,000 pixels; the limit is 89,478,485",
        ),
        "folder": (lambda path: path.mkdir(), "cannot be read: Is a directory|cannot be read: Permission denied"),
        "pdf": (lambda path: Image.new("RGB", (9, 9)).save(path, "PDF"), "not a picture"),
        "pcx": (lambda path: Image.new("RGB", (9, 9)).save(path, "PCX"), "one of the formats"),
    }
    for name, (make, _) in files.items():
        make(tmp_path / name)
    jobs = [ImageJob(name, tmp_path / name, 80, 60) for name in files]
    with pytest.warns(Image.DecompressionBombWarning), ImageProcessor(workers=2, output=out) as service:
        results = {r.job.image_id: r for r in service.stream([*jobs, ImageJob("good", photo, 80, 60)])}
    assert results.pop("good").ok
    for name, r in results.items():
        assert isinstance(r.error, ImageError), r
        with pytest.raises(ImageError, match=files[name][1]):
            raise r.error
        assert str(r.error).startswith(f"{name} ({name}): ")
    assert [path.name for path in out.iterdir()] == ["good_80x60.jpg"]
    assert (tmp_path / "bomb").stat().st_size < 1_000_000


def test_an_object_that_is_not_an_image_job_is_refused(out):
    with ImageProcessor(output=out) as service:
        [result] = service.stream(["photo.jpg"])
    assert isinstance(result.error, TypeError) and "must be an ImageJob, not 'photo.jpg'" in str(result.error)


def test_an_output_folder_that_vanishes_is_the_error_of_each_job(photo, out):
    with ImageProcessor(output=out) as service:
        out.rmdir()
        results = list(service.stream([ImageJob(f"a{n}", photo, 80, 60) for n in range(4)]))
    assert all("cannot be written to" in str(r.error) and str(out) in str(r.error) for r in results)


def test_a_picture_that_cannot_be_replaced_leaves_nothing_behind(photo, out):
    (out / "a_80x60.jpg").mkdir()
    with pytest.raises(ImageError, match="cannot be written"):
        resize(ImageJob("a", photo, 80, 60), out)
    assert unfinished(out) == []


def test_an_old_picture_is_replaced_as_a_whole(photo, out):
    first = resize(ImageJob("a", photo, 80, 60, 10), out)
    second = resize(ImageJob("a", photo, 80, 60, 95), out)
    assert first.path == second.path and second.new_size > first.new_size
    assert len(list(out.iterdir())) == 1


# --- the end -------------------------------------------------------------------------------------------------------


def test_a_forced_stop_with_a_hundred_queued_names_every_job_and_leaves_no_incomplete_picture(photo, out):
    jobs = [ImageJob(f"img{n:03}", photo, 600, 450) for n in range(104)]
    service = ImageProcessor(workers=3, queue_size=101, output=out)
    for job in jobs:
        service.submit(job)
    wait_until(lambda: service.stats().succeeded >= 1)
    report = service.force_shutdown()  # although no thread reads the results
    assert not report.still_running
    results = {r.job.image_id: r for r in service.results()}
    assert sorted(results) == [job.image_id for job in jobs]
    good = {name for name, r in results.items() if r.ok}
    cancelled = {job.image_id for job in report.cancelled}
    assert good | cancelled == set(results) and not good & cancelled and cancelled
    assert all(isinstance(results[name].error, JobCancelled) for name in cancelled)
    assert {path.name for path in out.iterdir()} == {f"{name}_600x450.jpg" for name in good}
    for path in out.iterdir():
        opened(path)


def test_a_picture_that_is_being_resized_is_not_written_after_a_stop(photo, out, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    real = Image.open

    def slow(*args, **options):
        begun.set()
        go.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(Image, "open", slow)
    service = ImageProcessor(workers=1, output=out)
    service.submit(ImageJob("a", photo, 80, 60))
    assert begun.wait(20)
    stop = threading.Thread(target=service.force_shutdown)
    stop.start()
    wait_until(service.cancelled.is_set)
    go.set()
    stop.join(20)
    [result] = service.results()
    assert isinstance(result.error, JobCancelled) and list(out.iterdir()) == []
    assert (service.stats().cancelled, service.stats().failed) == (1, 0)


def test_a_process_that_dies_in_the_middle_leaves_no_incomplete_picture(photo, out):
    script = (
        "import sys\nfrom helpers.pools import ImageProcessor, ImageJob\n"
        "service = ImageProcessor(workers=2, output=sys.argv[2])\n"
        "for r in service.stream(ImageJob(f'i{n}', sys.argv[1], 600, 450) for n in range(100000)): print(flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, photo, out], stdout=subprocess.PIPE)
    for _ in range(3):
        process.stdout.readline()
    time.sleep(0.01)
    process.kill()
    process.communicate()
    pictures = [path for path in out.iterdir() if path.suffix == ".jpg"]
    assert len(pictures) >= 3
    for path in pictures:
        opened(path)
