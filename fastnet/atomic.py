"""Files that appear whole or not at all.

What is written goes into a temporary file in the folder of the file it is for, because a rename
is one indivisible step only within a file system; it is on the disk before it takes the name.
POSIX, rename(): "if newpath already exists, it will be atomically replaced". Whoever reads sees
the old file or the new one, never a part of one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ENDING = "fastnet-tmp"
# Of the file's name, in the name of its temporary file: 160 bytes at most, in UTF-8, of the 255
# that file systems allow.
LONGEST_STEM = 40
# A temporary file that nobody has written to for so long belongs to no one, whatever process now
# has the number in its name.
ABANDONED_AFTER = 24 * 60 * 60  # seconds
NEW_FILE = 0o666  # less the umask
# How file systems say that they take no new file; /proc says that the new file does not exist.
NO_NEW_FILES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)


def check(path: str | os.PathLike[str]) -> Path:
    """Raise what writing a file would, before there is anything to write.

    An empty temporary file is made in its folder and removed: nothing else tells for certain
    whether the folder takes a file.

    Parameters
    ----------
    path : str or path
        The file to write.

    Returns
    -------
    pathlib.Path
        The file that would be written: where symbolic links lead, if there are any.

    Raises
    ------
    TypeError, ValueError
        If it is no path.
    IsADirectoryError
        If it is a folder.
    FileNotFoundError, NotADirectoryError
        If the folder that it would lie in is not there, or is a file.
    FileExistsError
        If it is there and no plain file: a device, a pipe, a socket.
    PermissionError
        If it is write-protected, or if its folder takes no new file.
    OSError
        If anything else stands in the way, such as a name that is too long.

    Examples
    --------
    >>> atomic.check("model.safetensors")
    PosixPath('/home/me/model.safetensors')
    """
    target = _target(path)
    beside = _beside(target)
    _discard(_create(beside, target), beside)
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    r"""Open a file that takes its name, and an older file's place, when all of it is on the disk.

    If anything is raised before, Ctrl-C and full disks included, nothing of it is left behind,
    and a file that was there is as it was. Symbolic links are followed, and a file that is
    replaced hands on its permissions. What processes left behind that were killed while they
    wrote to the same name is removed.

    Parameters
    ----------
    path : str or path
        The file to write.

    Yields
    ------
    file object
        For bytes, open for writing, able to seek; leave it open. Its ``name`` is the temporary
        file's.

    Raises
    ------
    OSError
        What `check` raises, before anything is written. A later error of the system, within the
        block too, keeps its class and number and gets the path and what was kept in its text.
    TypeError, ValueError
        If it is no path.

    Examples
    --------
    >>> with atomic.replacing("table.csv") as file:
    ...     file.write(b"a,b\n")
    """
    target = _target(path)
    existed = target.exists()
    beside = _beside(target)
    file = _create(beside, target)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(beside, target)  # noqa: PTH105 - Path.replace is the same, this says what it is
    except BaseException as error:
        _discard(file, beside)
        if isinstance(error, OSError) and _is_plain(error):
            raise _explained(error, target, existed) from error
        raise
    _sync_folder(target.parent)
    _sweep(target.parent, re.escape(target.name[:LONGEST_STEM]))


def link(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    """Give a file a second name, which takes an older file's place; nothing is copied.

    Whatever is written through `replacing` to one of the names makes a new file, so that the other
    one keeps what it has.

    Parameters
    ----------
    source : str or path
        A file that is on the disk already.
    path : str or path
        Its second name, on the same file system.

    Returns
    -------
    bool
        Whether it was done; False, and nothing is changed, where the system does not do so: some
        file systems have one name for each file. If there is another cause, `replacing` names it.

    Raises
    ------
    OSError, TypeError, ValueError
        As `replacing` does.

    Examples
    --------
    >>> if not atomic.link("best", "newest"):
    ...     write("newest")
    """
    target = _target(path)
    existed = target.exists()
    beside = _beside(target)
    try:
        os.link(source, beside)
    except OSError:
        return False
    try:
        os.replace(beside, target)  # noqa: PTH105 - as in `replacing`
    except OSError as error:
        raise _explained(error, target, existed) from error
    finally:
        # A rename does nothing where both names are the same file's already.
        _unlink(beside)
    _sync_folder(target.parent)
    return True


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what processes left behind that were killed while they wrote into a folder.

    `replacing` does so for the name that it writes to; this is for names that are not used again.
    What cannot be removed stays.

    Parameters
    ----------
    folder : str or path
    """
    _sweep(Path(folder), f".{{1,{LONGEST_STEM}}}")


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path leads to, or raise what stands in the way of writing it."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise TypeError(f"path is {path!r}; expected the path of a file, such as 'model.fastnet'")
    if "\0" in text:
        raise ValueError(f"path is {path!r}; expected a path without a null character")
    if text.endswith(("/", os.sep)):
        raise _error(IsADirectoryError, errno.EISDIR, "expected a file, not a folder", text)
    target = Path(os.path.realpath(text))
    if target.is_symlink():  # realpath gives up on links that lead to one another
        raise _error(OSError, errno.ELOOP, "the symbolic link leads in a circle", text)
    _check_folder(target.parent)
    if target.exists():
        _check_old(target)
    return target


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        message = "the folder to write into is not there; make it first, or choose another"
        raise _error(FileNotFoundError, errno.ENOENT, message, folder)
    if not folder.is_dir():
        message = "the folder to write into is a file; choose another"
        raise _error(NotADirectoryError, errno.ENOTDIR, message, folder)


def _check_old(target: Path) -> None:
    if target.is_dir():
        message = "a folder has this name; expected a file, or a name that is free"
        raise _error(IsADirectoryError, errno.EISDIR, message, target)
    if not target.is_file():
        message = "a device, a pipe or a socket has this name; expected a file, or a free name"
        raise _error(FileExistsError, errno.EEXIST, message, target)
    # A rename would not ask.
    if not os.access(target, os.W_OK):
        message = "the file is write-protected; choose another name, or allow writing"
        raise _error(PermissionError, errno.EACCES, message, target)


def _error(kind: type[OSError], number: int, message: str, path: str | Path) -> OSError:
    return kind(number, message, str(path))


# -- the temporary file ---------------------------------------------------------------------------


def _beside(target: Path) -> Path:
    """Return a name for a temporary file that says whose it is: place, process and a chance."""
    owner = f"{_place()}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f".{target.name[:LONGEST_STEM]}.{owner}.{ENDING}")


def _create(beside: Path, target: Path) -> BinaryIO:
    # From its first moment no one may read it who may not read the old file.
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    first = NEW_FILE if mode is None else mode & NEW_FILE

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, first)

    try:
        file = open(beside, "xb", opener=opener)  # noqa: SIM115 - closed by those who call
    except OSError as error:
        if error.errno not in NO_NEW_FILES:
            raise _explained(error, target, mode is not None) from error
        message = "the folder takes no new file; choose another, or allow writing into it"
        raise PermissionError(error.errno, message, str(target.parent)) from error
    if mode is not None:
        # The umask does not count for what was there before; some file systems have no modes.
        with contextlib.suppress(OSError):
            beside.chmod(mode)
    return file


def _discard(file: BinaryIO, beside: Path) -> None:
    """Remove the temporary file, whatever else goes wrong."""
    try:
        # Closing writes what is still in the buffer, and on a full disk fails as before.
        with contextlib.suppress(OSError):
            file.close()
    finally:
        _unlink(beside)


def _unlink(beside: Path) -> None:
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)


def _explained(error: OSError, target: Path, existed: bool) -> OSError:
    """Return the error with the path and what was kept in its text."""
    kept = "the file that was there is as it was" if existed else "no part of it is left behind"
    said = error.strerror or str(error)
    other = error.filename
    if other is not None and not str(other).endswith(ENDING):
        said = f"{said} ({other})"
    text = f"{said}; the file was not written, {kept}"
    if error.errno is None:  # NumPy's, when it cannot write all of an array
        return OSError(f"{text}: {str(target)!r}")
    return OSError(error.errno, text, str(target))  # of the class that belongs to the number


def _is_plain(error: OSError) -> bool:
    """Return whether an error is the system's: others, such as SSLError, number differently."""
    return type(error) is type(OSError(error.errno, ""))


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where the system opens folders."""
    # The file is in its place and whole: a system that cannot do this is no reason to fail.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- what killed processes left behind ------------------------------------------------------------


def _place() -> str:
    """Return within what the number of a process is unique: this computer, or its container."""
    parts = [platform.node().encode()]
    with contextlib.suppress(OSError):  # Linux only
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_bytes())
        parts.append(bytes(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:8]


def _sweep(folder: Path, stem: str) -> None:
    """Remove the temporary files for targets of this pattern whose processes are gone."""
    owner = r"([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}"
    pattern = re.compile(rf"\.{stem}\.{owner}\.{ENDING}", re.DOTALL)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path), found[1], int(found[2]))


def _remove_if_abandoned(leftover: Path, place: str, process: int) -> None:
    # Another sweep may be at it, or the file may be someone else's: neither is of concern here.
    with contextlib.suppress(OSError):
        idle = time.time() - leftover.stat().st_mtime
        if idle > ABANDONED_AFTER or (place == _place() and not _is_alive(process)):
            leftover.unlink()


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 is Ctrl-C there: age alone decides
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is there, and another user's
        return True
    return True
