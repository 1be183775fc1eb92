"""Write photos/photo1.jpg to photo8.jpg. This takes about 90 seconds, and the files have 5 MB in total.

    python data/make_photos.py

The pixels of photo 4 are rotated, and its EXIF orientation says so, like a photo from a phone.
"""

from pathlib import Path

from helpers.services.photos import write_photo

SIZES = [
    (4000, 3000),
    (4000, 2250),
    (4000, 2250),
    (2800, 4200),
    (4000, 3000),
    (4000, 2250),
    (4000, 2250),
    (4000, 3000),
]
SEEDS = [6, 2, 3, 16, 9, 1, 12, 8]
QUALITY = 74


def write_photos(folder: Path) -> None:
    """Write the photos to `folder`."""
    folder.mkdir(exist_ok=True)
    for number, (seed, size) in enumerate(zip(SEEDS, SIZES, strict=True), start=1):
        orientation = 6 if size[0] < size[1] else 1
        write_photo(folder / f"photo{number}.jpg", seed, *size, quality=QUALITY, orientation=orientation)


if __name__ == "__main__":
    write_photos(Path(__file__).with_name("photos"))
