from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sage.cli.saving import SaveFolder
from sage.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SaveFolder]:
    folder = SaveFolder(tmp_path / "top" / "inner")
    yield folder
    folder.close()
    folder.close()


def test_a_file_grows_under_another_name_and_is_private(
    folder: SaveFolder, tmp_path: Path
) -> None:
    top = tmp_path / "top" / "inner"
    saving = folder.begin()
    saving.write(b"one ")
    assert [path.suffix for path in top.iterdir()] == [".part"]
    saving.write(b"two")
    saving.finish("a/b/c.txt")
    assert (top / "a/b/c.txt").read_bytes() == b"one two"
    assert stat.S_IMODE((top / "a/b/c.txt").stat().st_mode) == 0o600
    assert [path.name for path in top.iterdir()] == ["a"]


def test_a_file_of_that_name_is_replaced_whole(
    folder: SaveFolder, tmp_path: Path
) -> None:
    for text in (b"the first, longer one", b"second"):
        saving = folder.begin()
        saving.write(text)
        saving.finish("same")
    assert (tmp_path / "top/inner/same").read_bytes() == b"second"


def test_what_is_discarded_leaves_nothing(folder: SaveFolder, tmp_path: Path) -> None:
    saving = folder.begin()
    saving.write(b"x")
    saving.discard()
    saving.discard()
    assert not list((tmp_path / "top/inner").iterdir())
    with pytest.raises(FileNotFoundError):
        saving.write(b"y")


@pytest.mark.parametrize("path", ["out/x", "out/deeper/x", "a/out/x"])
def test_a_link_on_the_way_is_not_followed(
    folder: SaveFolder, tmp_path: Path, path: str
) -> None:
    top, outside = tmp_path / "top" / "inner", tmp_path / "outside"
    (top / "a").mkdir()
    outside.mkdir()
    (top / "out").symlink_to(outside)
    (top / "a" / "out").symlink_to(outside)
    saving = folder.begin()
    saving.write(b"x")
    with pytest.raises(OSError):  # noqa: PT011  (ELOOP or ENOTDIR, by system)
        saving.finish(path)
    saving.discard()
    assert not list(outside.iterdir())


def test_a_link_with_the_files_name_is_replaced_and_its_target_left(
    folder: SaveFolder, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "top/inner/name").symlink_to(target)
    saving = folder.begin()
    saving.write(b"new")
    saving.finish("name")
    assert target.read_text() == "precious"
    assert (tmp_path / "top/inner/name").read_bytes() == b"new"


def test_a_part_that_became_a_link_is_not_written_through(
    folder: SaveFolder, tmp_path: Path
) -> None:
    saving = folder.begin()
    (part,) = (tmp_path / "top/inner").iterdir()
    part.unlink()
    part.symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("precious")
    with pytest.raises(OSError):  # noqa: PT011  (ELOOP)
        saving.write(b"x")
    assert (tmp_path / "target").read_text() == "precious"


def test_a_file_where_a_folder_should_be_is_refused(folder: SaveFolder) -> None:
    for path, fits in (("a", True), ("a/b", False)):
        saving = folder.begin()
        if fits:
            saving.finish(path)
        else:
            with pytest.raises(OSError):  # noqa: PT011  (ENOTDIR)
                saving.finish(path)


def test_a_folder_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot save below"):
        SaveFolder(tmp_path / "file")


def test_a_system_without_relative_opens_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(ConfigError, match="safely"):
        SaveFolder(tmp_path)
