"""Writes files whole or not at all: to a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from edgekit.errors import OutputError

_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.EFBIG: "the file is larger than this system allows (`ulimit -f`): raise the limit or choose another folder",
    errno.EACCES: "permission denied: choose a folder that you may write to",
    errno.EPERM: "permission denied: choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EISDIR: "it is a folder: choose another name or remove it",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another folder",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


def require_writable(folder: Path) -> None:
    """Try whether files can be made in a folder that exists; nothing is left behind.

    Raises OutputError as `write_atomically`, though a nearly full disk only shows when the files are written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".edgekit."):
            pass
    except OSError as error:
        raise _output_error(folder, error) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder; a file of that name is replaced in one step, or stays as it was.

    Raises OutputError, leaving no partial file, where the folder cannot be made or written to or the disk is full.
    """
    write_all({path: data})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write every file or none: all are written in full under temporary names before the first one is renamed.

    Raises OutputError as `write_atomically`; new files that were already renamed then, or when the user interrupts, are
    removed again.
    """
    with ExitStack() as cleanup, ExitStack() as undo:
        staged = [(_stage(Path(path), data, cleanup), Path(path)) for path, data in files.items()]
        for temporary, path in staged:
            if not path.exists():
                undo.callback(_remove, path)  # before the rename: Ctrl-C may come at any moment
            _rename(temporary, path)
        for folder in dict.fromkeys(path.parent for _, path in staged):
            _sync_folder(folder)
        undo.pop_all()


def _stage(path: Path, data: bytes, cleanup: ExitStack) -> Path:
    """Write `data` to a temporary name beside `path`, which `cleanup` removes if it is still there at the end."""
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        cleanup.callback(_remove, temporary)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _output_error(path, error) from error
    return temporary


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        raise _output_error(path, error) from error


def _remove(path: Path) -> None:
    # A file that cannot be removed must not hide the error that led here.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _sync_folder(folder: Path) -> None:
    """Make the new names durable, where the system can do that (Windows and some network drives cannot)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


def _output_error(path: Path, error: OSError) -> OutputError:
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}: choose another folder")
    return OutputError(f"cannot write {path}: {cause}")
