"""The generated pictures: drawn from a seed, never incomplete; and the eight pictures in data/."""

import os

import pytest
from PIL import Image

from helpers.services import PHOTOS, load_all, make_photo, make_photos, truncate, write_bomb, write_photo
from helpers.services.photos import ORIENTATION


def test_equal_seeds_draw_equal_pictures_and_different_seeds_different_ones():
    assert make_photo(1, 80, 60).tobytes() == make_photo(1, 80, 60).tobytes()
    assert make_photo(1, 80, 60).tobytes() != make_photo(6, 80, 60).tobytes()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (160, 120)])
def test_any_size(size):
    picture = make_photo(2, *size)
    assert (picture.size, picture.mode) == (size, "RGB")


def test_a_rotated_photo_has_an_orientation_tag(tmp_path):
    with Image.open(write_photo(tmp_path / "a.jpg", 1, 60, 80, orientation=6)) as picture:
        assert picture.size == (80, 60) and picture.getexif()[ORIENTATION] == 6
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_the_eight_photos_are_there_and_small_enough_for_a_checkout():
    paths = sorted(PHOTOS.glob("*.jpg"))
    assert [path.name for path in paths] == [f"photo{n}.jpg" for n in range(1, 9)]
    assert sum(path.stat().st_size for path in paths) < 6_000_000
    for path in paths:
        with Image.open(path) as picture:
            assert max(picture.size) >= 4000 and picture.width * picture.height >= 9_000_000
            assert (picture.getexif().get(ORIENTATION, 1) == 6) == (path.name == "photo4.jpg")


def test_an_interrupted_run_can_be_continued(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.services.photos.BASE_SIZE", (160, 120))
    some = make_photos(tmp_path, 5, width=80, height=60, seed=77)
    first = [next(some), next(some)]
    some.close()
    before = {path: path.stat().st_mtime_ns for path in first}
    paths = list(make_photos(tmp_path, 5, width=80, height=60, seed=77))
    assert sorted(os.listdir(tmp_path)) == [path.name for path in paths] == [f"photo0000{n}.jpg" for n in range(1, 6)]
    assert {path: path.stat().st_mtime_ns for path in first} == before
    contents = {path.read_bytes() for path in paths}
    assert len(contents) == 5


def test_a_bomb_is_small_and_decodes_to_the_size_in_its_header(tmp_path):
    with Image.open(write_bomb(tmp_path / "bomb.png", 1000, 500)) as picture:
        assert picture.size == (1000, 500) and picture.convert("L").getextrema() == (0, 0)
    assert (tmp_path / "bomb.png").stat().st_size < 1000


def test_a_truncated_file_is_the_first_part_of_the_original(tmp_path):
    source = write_photo(tmp_path / "a.jpg", 1, 80, 60)
    half = truncate(source, tmp_path / "b.jpg")
    assert source.read_bytes().startswith(half.read_bytes())
    assert half.stat().st_size == source.stat().st_size // 2
    assert load_all([source, source]) == 2
