"""The location of the services' data files: data/ in a checkout, or beside this file in an installed wheel."""

from pathlib import Path

INSTALLED = Path(__file__).with_name("data")
CHECKOUT = Path(__file__).parents[2] / "data"


def data_file(name: str) -> Path:
    """Return the path of the file or folder `name` of data/."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    return folder / name
