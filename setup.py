"""All settings are in pyproject.toml. This file adds one step: a wheel also carries the files that the services read.

In a checkout they lie in data/, outside of the package. `helpers.services.data_files` finds them in both places.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = ("data/users.csv", *sorted(path.as_posix() for path in Path("data/photos").glob("*.jpg")))


class BuildWithData(build_py):
    """Copy DATA to helpers/services/data in the wheel. An editable installation reads data/ itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source in DATA:
                target = Path(self.build_lib, "helpers", "services", source)
                self.mkpath(str(target.parent))
                self.copy_file(source, str(target))


setup(cmdclass={"build_py": BuildWithData})
