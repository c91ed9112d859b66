"""Files that appear whole or not at all, whatever goes wrong meanwhile."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from fastnet import atomic

ROOT = Path(__file__).parents[1]
LARGE = 1 << 20  # more than any buffer holds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is there."""
    path = tmp_path / "model.fastnet"
    path.write_bytes(b"old")
    return path


def write(
    path: Path | str,
    content: bytes = b"new",
    error: BaseException | None = None,
    before: Callable[[BinaryIO], object] | None = None,
) -> None:
    """Write content, in the end raise an error; do something else before that."""
    with atomic.replacing(path) as file:
        if before:
            before(file)
        file.write(content)
        if error:
            raise error


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def as_it_was(path: Path) -> bool:
    return path.read_bytes() == b"old" and names(path.parent) == [path.name]


def process(script: str, *arguments: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "kernels"]))
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- when all goes well ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"new", b"longer" * LARGE])
def test_a_file_is_written(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "new"
    write(path, content)
    write(str(path), content)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["new"]


def test_the_old_file_is_there_until_the_end(path: Path) -> None:
    with atomic.replacing(path) as file:
        file.write(b"new" * LARGE)
        file.flush()
        assert path.read_bytes() == b"old"
        assert Path(file.name).parent == path.parent
        assert Path(file.name).name.startswith(".model.fastnet.")
    assert path.read_bytes() == b"new" * LARGE


def test_whoever_has_the_old_file_open_keeps_it(path: Path) -> None:
    with path.open("rb") as old:
        write(path, b"something longer")
        assert old.read() == b"old"


def test_a_file_may_be_written_out_of_order_and_as_text(path: Path) -> None:
    with atomic.replacing(path) as file:
        file.write(b"....new")
        file.seek(0)
        file.write(b"more")
    assert path.read_bytes() == b"morenew"
    with atomic.replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        text.write("Größe\n")
        text.flush()
        text.detach()
    assert path.read_text(encoding="utf-8") == "Größe\n"


def test_a_file_in_the_working_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with atomic.replacing(path.name) as file:
        monkeypatch.chdir("/")
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    "name", ["n" * 255, "é" * 127, "🙂" * 63, "a\nb", ".hidden", "-x", "[a-c]*.?"]
)
def test_any_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    atomic.check(tmp_path / name)
    write(tmp_path / name)
    write(tmp_path / name)
    assert names(tmp_path) == [name]


# -- when something is raised ---------------------------------------------------------------------


class Oddity(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, MemoryError, ValueError, SystemExit, GeneratorExit, Oddity]
)
@pytest.mark.parametrize("amount", [0, 5, LARGE])
def test_any_error_leaves_the_old_file(path: Path, error: type[BaseException], amount: int) -> None:
    opened: list[BinaryIO] = []
    with pytest.raises(error, match="mid-way"):
        write(path, b"x" * amount, error("mid-way"), opened.append)
    assert as_it_was(path)
    assert opened[0].closed


def test_an_error_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "new", b"x" * LARGE, ZeroDivisionError())
    assert names(tmp_path) == []


def test_a_block_that_is_never_ended(path: Path) -> None:
    writing = atomic.replacing(path)
    writing.__enter__().write(b"half")
    del writing
    assert as_it_was(path)


def test_ctrl_c_while_it_is_brought_to_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert as_it_was(path)


def test_a_rename_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match=r"resource busy; the file was not written") as caught:
        write(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(path))
    assert ".fastnet-tmp" not in str(caught.value)
    assert as_it_was(path)


def make_full(file: BinaryIO) -> None:
    """Let a file that is open lie on a full disk."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    os.close(full)


needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no /dev/full"
)


@needs_dev_full
@pytest.mark.parametrize("amount", [5, LARGE])
def test_a_full_disk(path: Path, amount: int) -> None:
    """At the flush of a few bytes, and at the write of many."""
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(path, b"x" * amount, before=make_full)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value) == (
        f"[Errno 28] No space left on device; the file was not written, the file that was there is "
        f"as it was: {str(path)!r}"
    )
    assert as_it_was(path)


@needs_dev_full
def test_ctrl_c_on_a_full_disk_is_ctrl_c(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(path, b"x", KeyboardInterrupt(), make_full)
    assert as_it_was(path)


@needs_dev_full
def test_an_array_on_a_full_disk(tmp_path: Path) -> None:
    """NumPy's own error has no number."""
    path = tmp_path / "new"

    def full_array(file: BinaryIO) -> None:
        make_full(file)
        np.ones(LARGE).tofile(file)

    with pytest.raises(OSError, match=r"requested and 0 written; .*no part of it is") as caught:
        write(path, before=full_array)
    assert repr(str(path)) in str(caught.value)
    assert names(tmp_path) == []


def test_errors_of_other_files_name_both(path: Path) -> None:
    other = path.with_name("other")
    with pytest.raises(FileNotFoundError) as caught, atomic.replacing(path):
        other.read_bytes()
    assert caught.value.filename == str(path)
    assert f"No such file or directory ({other}); the file was not written" in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert as_it_was(path)


def test_errors_with_numbers_of_their_own_stay_as_they_are(path: Path) -> None:
    for error in (ssl.SSLError(1, "no certificate"), io.UnsupportedOperation("not here")):
        with pytest.raises(type(error)) as caught, atomic.replacing(path):
            raise error
        assert caught.value is error
        assert as_it_was(path)


def test_a_limit_on_the_size_of_files(path: Path) -> None:
    script = """
import resource, sys
from fastnet import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with atomic.replacing(sys.argv[1]) as file:
        for _ in range(1000):
            file.write(b"x" * 1000)
except OSError as error:
    print(error.errno, error)
"""
    out, err = process(script, path).communicate(timeout=60)
    assert out.startswith(
        f"{errno.EFBIG} [Errno {errno.EFBIG}] File too large; the file was not"
    ), err
    assert str(path) in out
    assert as_it_was(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = shutil.which("mount")
    if command is None or os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run([command, *options], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    path = small_disk / "model"
    write(path, b"old" * 10_000)
    for _ in range(3):
        with pytest.raises(OSError, match=r"No space left on device.*as it was") as caught:
            write(path, b"new" * 20_000)
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old" * 10_000
        assert names(small_disk) == ["model"]
    write(path, b"new" * 10_000)


def test_a_disk_that_one_may_not_write_to(small_disk: Path) -> None:
    (small_disk / "model").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for attempt in (atomic.check, write):
        with pytest.raises(PermissionError):
            attempt(small_disk / "model")
        with pytest.raises(PermissionError, match=r"the folder takes no new file; choose another"):
            attempt(small_disk / "new")
    assert as_it_was(small_disk / "model")


# -- second names ---------------------------------------------------------------------------------


def test_a_second_name(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"older")
    for _ in range(2):  # the second time both names are the file's already
        assert atomic.link(path, other)
        assert other.read_bytes() == b"old"
        assert names(path.parent) == sorted([path.name, "other"])
    write(path, b"new")
    assert other.read_bytes() == b"old"
    assert atomic.link(path, other)
    write(other, b"newer")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_files_have_one_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    assert not atomic.link(path, path.with_name("other"))
    assert as_it_was(path)


def test_a_second_name_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other")
    assert not atomic.link(path.with_name("nothing"), other)
    with pytest.raises(FileNotFoundError, match="the folder to write into is not there"):
        atomic.link(path, path.parent / "no" / "other")

    def fails(source: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="resource busy; the file was not written, no part of it"):
        atomic.link(path, other)
    assert as_it_was(path)


# -- killed processes -----------------------------------------------------------------------------

HALF = """
import sys
from fastnet import atomic
with atomic.replacing(sys.argv[1]) as file:
    file.write(b"x" * 100_000)
    file.flush()
    print(file.name, flush=True)
    sys.stdin.read()
"""


def half_written(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing to the file, and its temporary file."""
    child = process(HALF, path)
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_a_killed_process_leaves_the_old_file_and_the_next_one_cleans_up(path: Path) -> None:
    child, beside = half_written(path)
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert beside.stat().st_size == 100_000
    with pytest.raises(ZeroDivisionError), atomic.replacing(path):
        1 / 0  # noqa: B018
    assert beside.exists()  # nothing was written
    write(path.with_name("another"))
    assert beside.exists()  # not its own
    write(path)
    assert names(path.parent) == ["another", path.name]


def test_sweeping_a_folder(path: Path) -> None:
    dead, alive = half_written(path), half_written(path.with_name("n" * 100))
    dead[0].kill()
    dead[0].communicate(timeout=60)
    atomic.sweep(path.parent)
    assert names(path.parent) == sorted([alive[1].name, path.name])
    alive[0].kill()
    alive[0].communicate(timeout=60)
    atomic.sweep(path.parent)
    assert as_it_was(path)
    atomic.sweep(path.parent / "nothing")


def test_a_process_that_lives_keeps_its_file(path: Path) -> None:
    child, beside = half_written(path)
    write(path, b"first")
    assert beside.exists()
    child.communicate("", timeout=60)
    assert child.returncode == 0
    assert path.read_bytes() == b"x" * 100_000
    assert names(path.parent) == [path.name]


def gone() -> int:
    """The number of a process that is no more."""
    child = process("")
    child.communicate(timeout=60)
    return child.pid


def test_only_what_is_abandoned_is_removed(path: Path) -> None:
    here, dead, alive = atomic._place(), gone(), os.getpid()
    elsewhere = "0" * 8
    base = f".{path.name}"
    kept = [
        f"{base}.{here}-{alive}-00000001.fastnet-tmp",  # this process: another thread
        f"{base}.{here}-1-00000001.fastnet-tmp",  # another user's, if this is not root's
        f"{base}.{elsewhere}-{dead}-00000001.fastnet-tmp",  # another computer's, who knows
        f"{base}.{here}-{dead}-00000001.fastnet-tmp.mine",
        f"{base}.{here}-{dead}-1.fastnet-tmp",
        f".another.{here}-{dead}-00000001.fastnet-tmp",
        f"x{base}.{here}-{dead}-00000001.fastnet-tmp",
        f".modelXfastnet.{here}-{dead}-00000001.fastnet-tmp",
    ]
    old = f"{base}.{elsewhere}-{alive}-00000002.fastnet-tmp"
    removed = [
        f"{base}.{here}-{dead}-00000003.fastnet-tmp",
        f"{base}.{here}-9999999999-00000003.fastnet-tmp",
        old,
    ]
    for name in [*kept, *removed]:
        path.with_name(name).write_bytes(b"half")
    long_ago = time.time() - atomic.ABANDONED_AFTER - 60
    os.utime(path.with_name(old), (long_ago, long_ago))
    folder = path.with_name(f"{base}.{here}-{dead}-00000004.fastnet-tmp")
    folder.mkdir()
    write(path)
    assert names(path.parent) == sorted([*kept, folder.name, path.name])


def test_leftovers_of_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 200 + ".safetensors")
    child, beside = half_written(path)
    child.kill()
    child.communicate(timeout=60)
    assert beside.exists()
    write(path)
    assert names(tmp_path) == [path.name]


# -- several at once ------------------------------------------------------------------------------


def test_of_two_writers_the_last_one_wins(path: Path) -> None:
    with atomic.replacing(path) as first:
        first.write(b"first" * LARGE)
        with atomic.replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" * LARGE
    assert names(path.parent) == [path.name]


def test_readers_see_whole_files_only(path: Path) -> None:
    contents = {bytes([letter]) * 100_000 for letter in b"ABC"}
    path.write_bytes(next(iter(contents)))
    failures: list[BaseException] = []
    done = threading.Event()

    def writer(content: bytes) -> None:
        try:
            for _ in range(15):
                write(path, content)
        except BaseException as error:
            failures.append(error)

    seen: list[bool] = []

    def reader() -> None:
        while not done.is_set():
            seen.append(path.read_bytes() in contents)

    threads = [threading.Thread(target=writer, args=(content,)) for content in contents]
    watching = threading.Thread(target=reader)
    watching.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watching.join()
    assert failures == []
    assert len(seen) > 10
    assert all(seen)
    assert names(path.parent) == [path.name]


def test_several_processes(path: Path) -> None:
    script = """
import sys
from fastnet import atomic
for _ in range(10):
    with atomic.replacing(sys.argv[1]) as file:
        file.write(sys.argv[2].encode() * 100_000)
"""
    children = [process(script, path, letter) for letter in "AB"]
    for child in children:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
    assert path.read_bytes() in {letter * 100_000 for letter in (b"A", b"B")}
    assert names(path.parent) == [path.name]


# -- links and permissions ------------------------------------------------------------------------


def test_links_are_written_through(tmp_path: Path) -> None:
    real, links = tmp_path / "real", tmp_path / "links"
    real.mkdir()
    links.mkdir()
    (real / "file").write_bytes(b"old")
    (links / "first").symlink_to("../real/file")
    (links / "second").symlink_to("first")
    (links / "folder").symlink_to("../real")
    for link in ("first", "second", "folder/file"):
        write(links / link, link.encode())
        assert (real / "file").read_bytes() == link.encode()
        assert atomic.check(links / link) == (real / "file").resolve()
    assert (links / "first").is_symlink()
    assert (links / "second").is_symlink()
    assert not (real / "file").is_symlink()
    assert names(real) == ["file"]
    assert names(links) == ["first", "folder", "second"]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "free").symlink_to("new")
    write(tmp_path / "free")
    assert (tmp_path / "free").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"new"
    (tmp_path / "lost").symlink_to("missing/new")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for attempt in (atomic.check, write):
        with pytest.raises(FileNotFoundError, match=r"folder to write into is not there.*missing"):
            attempt(tmp_path / "lost")
        with pytest.raises(OSError, match=r"leads in a circle: .*one") as caught:
            attempt(tmp_path / "one")
        assert caught.value.errno == errno.ELOOP


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_has_the_permissions_of_any(tmp_path: Path, umask: int) -> None:
    write(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o666 & ~umask


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o644, 0o666, 0o755])
def test_a_file_that_is_replaced_hands_on_its_permissions(
    path: Path, umask: int, permissions: int
) -> None:
    path.chmod(permissions)
    with atomic.replacing(path) as file:
        assert mode(Path(file.name)) == permissions  # secret from the beginning
    assert mode(path) == permissions


def test_what_is_secret_is_so_from_the_first_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.chmod(0o600)
    found: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda self, permissions: found.append(mode(self)))
    write(path)
    assert found == [0o600]


# -- what would fail, before there is anything to write -------------------------------------------


def lasting(path: Path) -> tuple[int, ...]:
    """What a file system says of a file, but for when it was last read."""
    found = path.stat()
    return (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def test_a_check_that_passes_changes_nothing(path: Path) -> None:
    before = lasting(path)
    assert atomic.check(path) == path.resolve()
    assert atomic.check(str(path.with_name("new"))) == path.with_name("new").resolve()
    assert as_it_was(path)
    assert lasting(path) == before


def refused(attempt: object, path: object) -> OSError:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        attempt(path)  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize("attempt", [atomic.check, write])
def test_what_is_no_place_for_a_file(path: Path, attempt: object) -> None:
    folder = path.parent / "folder"
    folder.mkdir()
    for wrong in (folder, f"{folder}/", f"{path.with_name('new')}/", ".", ".."):
        assert type(refused(attempt, wrong)) is IsADirectoryError
    missing = refused(attempt, folder / "not" / "there")
    assert type(missing) is FileNotFoundError
    assert missing.filename == str(folder / "not")
    assert "the folder to write into is not there; make it first" in str(missing)
    for wrong in (path / "new", path / "below" / "new"):
        assert type(refused(attempt, wrong)) in (NotADirectoryError, FileNotFoundError)
    assert refused(attempt, folder / ("n" * 256)).errno == errno.ENAMETOOLONG
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["folder", path.name]
    assert names(folder) == []


@pytest.mark.parametrize("attempt", [atomic.check, write])
def test_what_is_no_file(tmp_path: Path, attempt: object) -> None:
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path / "pipe", os.devnull):
        error = refused(attempt, wrong)
        assert type(error) is FileExistsError
        assert "a device, a pipe or a socket has this name" in str(error)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("attempt", [atomic.check, write])
@pytest.mark.parametrize("wrong", [None, 3, "", b"bytes", ["a"]])
def test_what_is_no_path(attempt: object, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"path is .*; expected the path of a file"):
        attempt(wrong)  # type: ignore[operator]


def test_a_null_character() -> None:
    with pytest.raises(ValueError, match=r"path is 'a\\x00b'; expected a path without a null"):
        atomic.check("a\0b")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the system has no /proc")
@pytest.mark.parametrize("attempt", [atomic.check, write])
def test_a_folder_in_which_even_root_makes_no_file(attempt: object) -> None:
    error = refused(attempt, "/proc/new")
    assert type(error) is PermissionError
    assert "the folder takes no new file; choose another" in str(error)


ATTEMPT = """
import os, sys
from fastnet import atomic
atomic.check("/tmp/fastnet")  # imports what another user may not
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    atomic.check(sys.argv[1])
except PermissionError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["folder", "file"])
def test_permissions_that_lack(what: str) -> None:
    """In a process that is not root's, because nothing is forbidden to root."""
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which no one else may enter
        folder = Path(name).resolve()
        path = folder / "model"
        path.write_bytes(b"old")
        path.chmod(0o444 if what == "file" else 0o666)
        folder.chmod(0o555 if what == "folder" else 0o777)
        child = process(ATTEMPT.replace("/tmp", tempfile.gettempdir()), path)
        out, err = child.communicate(timeout=60)
        folder.chmod(0o777)
        assert as_it_was(path)
    cure = "or allow writing"
    said = {
        "file": f"the file is write-protected; choose another name, {cure}: '{path}'",
        "folder": f"the folder takes no new file; choose another, {cure} into it: '{folder}'",
    }
    assert out == f"[Errno 13] {said[what]}\n", err
