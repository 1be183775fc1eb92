"""Convert the pixels of any picture to a mode that a JPEG can store: RGB or gray, with 8 bits per color.

The rules:
- Transparent pixels are put on a white background. Palettes, CMYK, YCbCr, and LAB become RGB.
- Pictures that have only black and white pixels become gray.
- Gray with more than 8 bits (16-bit or 32-bit integers, or floating point) is scaled linearly. No standard says which
  value is white, so it is chosen by the largest value in the picture: white is the smallest of 1, 255, 4,095, and
  65,535 that is not exceeded, and black is 0. These are the ranges of fractions and of 8-bit, 12-bit, and 16-bit
  sensors.
- A gray picture that fits none of these ranges is refused, because any scale would be a guess. Such a picture has a
  negative value, a value above 65,535, NaN, or infinity, or its largest value is not zero but less than a sixteenth of
  white, so that nearly nothing could be seen.

A mistake in these rules would make a picture black, white, or wrongly colored, and no error would be raised.
"""

import math
from typing import cast

from PIL import Image

WHITES = (1, 255, 4095, 65535)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def plain(picture: Image.Image) -> Image.Image:
    """Return the picture in mode RGB or L, by the rules of this module. Raises ValueError if a rule refuses it."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _gray(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    if picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a copy of the picture, turned as its EXIF orientation (1 to 8) says."""
    turn = TURNS.get(orientation)
    return picture.copy() if turn is None else picture.transpose(turn)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "La":  # Pillow converts this mode only to LA
        picture = picture.convert("LA")
    above = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
    under = Image.new("RGB", picture.size, "white")
    under.paste(above, mask=above)
    return under


def _gray(picture: Image.Image) -> Image.Image:
    if picture.mode != "F":
        picture = picture.convert("I").convert("F")  # Pillow converts some 16-bit modes only to "I"
    scale = 255 / _white(picture)
    # `convert` truncates the fraction, so add 0.5 to round to the nearest integer.
    return picture.point(lambda value: value * scale + 0.5).convert("L")


def _white(numbers: Image.Image) -> int:
    """Return the value that becomes white in a picture of mode F. Raises ValueError if the values fit no range."""
    # `getextrema` does not find NaN, because every comparison with NaN is false. But it makes the mean NaN.
    mean = numbers.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    if not isinstance(mean, float) or not math.isfinite(mean):
        raise ValueError("its values must be finite numbers, but NaN or infinity is among them")
    lowest, highest = cast("tuple[float, float]", numbers.getextrema())
    for white in WHITES:
        if lowest >= 0 and highest <= white and (highest == 0 or highest >= white / 16):
            return white
    ranges = ", ".join(f"0 to {white}" for white in WHITES)
    raise ValueError(f"its values must fill one of the ranges {ranges}, but they go from {lowest:g} to {highest:g}")
