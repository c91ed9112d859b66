"""Images that are downloaded: from which mirror, what is kept, and what is said if it fails."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loading import LABELS, ROWS, write_set

import fastnet
from fastnet.data import images
from fastnet.data.images import FASHION_MNIST, MNIST
from fastnet.data.published import FILES

NAMES = {f"{name}.gz" for name in FILES.values()}
FIRST = f"{FILES['X_train']}.gz"
NOWHERE = "http://127.0.0.1:9/"  # the port of a service that nobody offers


class Mirror:
    """A mirror on this machine: it counts what is asked of it, and answers as it is told."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.change: Callable[[bytes], bytes] = bytes
        self.is_cut = False  # the second half of a file does not come
        self.half_sent = threading.Event()
        self.goes_on = threading.Event()  # with the second half
        self.goes_on.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                path = folder / self.path.lstrip("/")
                if outer.status != 200 or not path.is_file():
                    self.send_error(outer.status if outer.status != 200 else 404)
                    return
                outer.send(self, outer.change(path.read_bytes()))

            def log_message(self, *_: Any) -> None: ...

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None: ...  # who asked may be gone

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        # The end of a server waits for its next look at whether it shall end: every half second.
        often = {"poll_interval": 0.01}
        threading.Thread(target=self.server.serve_forever, kwargs=often, daemon=True).start()

    def send(self, handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        half = len(content) // 2
        handler.wfile.write(content[:half])
        self.half_sent.set()
        assert self.goes_on.wait(60)
        if not self.is_cut:
            handler.wfile.write(content[half:])

    def close(self) -> None:
        self.goes_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mirror, Mirror]]:
    """Two mirrors of a small set, and an empty cache."""
    write_set(tmp_path / "served")
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("FASTNET_DATA_DIR", raising=False)
    both = Mirror(tmp_path / "served"), Mirror(tmp_path / "served")
    hashes = {
        part: hashlib.sha256((tmp_path / "served" / f"{name}.gz").read_bytes()).hexdigest()
        for part, name in FILES.items()
    }
    addresses = tuple(mirror.address for mirror in both)
    monkeypatch.setattr(images, "MNIST", MNIST._replace(mirrors=addresses, hashes=hashes))
    yield both
    for mirror in both:
        mirror.close()


def cached(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "data" / "mnist"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def cut_off(mirror: Mirror, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one mirror, at another address."""
    monkeypatch.setattr(images, "MNIST", images.MNIST._replace(mirrors=(address,)))


# -- which mirror, and when -----------------------------------------------------------------------


def test_images_are_downloaded_once_from_the_first_mirror(
    mirrors: tuple[Mirror, Mirror], tmp_path: Path
) -> None:
    first = fastnet.load_data("mnist")
    np.testing.assert_array_equal(first.X_train, ROWS)
    assert mirrors[0].asked == [f"/{name}.gz" for name in FILES.values()]
    again = fastnet.load_data("mnist")
    np.testing.assert_array_equal(again.X_test, first.X_test)
    assert len(mirrors[0].asked) == 4
    assert not mirrors[1].asked
    assert names_in(cached(tmp_path)) == NAMES


def test_the_second_mirror_is_asked_if_there_is_no_first(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = (NOWHERE, mirrors[1].address)
    monkeypatch.setattr(images, "MNIST", images.MNIST._replace(mirrors=two))
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)
    assert len(mirrors[1].asked) == 4


@pytest.mark.parametrize("failure", ["404", "503", "cut", "a page", "longer", "empty"])
def test_the_second_mirror_is_asked_if_the_first_fails(
    mirrors: tuple[Mirror, Mirror], failure: str, tmp_path: Path
) -> None:
    first, second = mirrors
    if failure.isdecimal():
        first.status = int(failure)
    first.is_cut = failure == "cut"
    changes: dict[str, Callable[[bytes], bytes]] = {
        "a page": lambda _: b"<html>Log in to this network</html>",
        "longer": lambda content: content + b"\0",
        "empty": lambda _: b"",
    }
    first.change = changes.get(failure, bytes)
    data = fastnet.load_data("mnist")
    np.testing.assert_array_equal(data.X_train, ROWS)
    np.testing.assert_array_equal(data.y_test, LABELS[:12])
    assert len(first.asked) == len(second.asked) == 4
    assert names_in(cached(tmp_path)) == NAMES


def test_the_hashes_are_of_sixty_four_digits_and_all_different() -> None:
    found = [*MNIST.hashes.values(), *FASHION_MNIST.hashes.values()]
    assert len(set(found)) == 8
    assert all(len(one) == 64 and int(one, 16) for one in found)


# -- what is refused ------------------------------------------------------------------------------


def test_a_wrong_hash_is_refused_and_not_kept(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = images.MNIST
    wrong = right._replace(hashes={**right.hashes, "y_test": "0" * 64})
    monkeypatch.setattr(images, "MNIST", wrong)
    found = right.hashes["y_test"]
    with pytest.raises(OSError, match=rf"wrong hash, SHA-256 {found}, expected 0{{64}}.*Download"):
        fastnet.load_data("mnist")
    assert names_in(cached(tmp_path)) == NAMES - {f"{FILES['y_test']}.gz"}
    monkeypatch.setattr(images, "MNIST", right)
    assert len(fastnet.load_data("mnist").X_test) == 12  # goes on with what is missing
    assert len([path for path in mirrors[0].asked if "t10k-labels" in path]) == 2


@pytest.mark.parametrize(
    ("gone", "reason"),
    [("404", "404"), ("no network", "refused"), ("no such name", "esol|known|name")],
)
def test_no_mirror_says_what_to_put_where(
    mirrors: tuple[Mirror, Mirror],
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
    reason: str,
    tmp_path: Path,
) -> None:
    address = {
        "404": f"{mirrors[0].address}nowhere/",
        "no network": NOWHERE,
        "no such name": "http://nowhere.invalid/",
    }[gone]
    cut_off(mirrors[0], address, monkeypatch)
    with pytest.raises(OSError, match="mnist could not be downloaded: ") as caught:
        fastnet.load_data("mnist")
    said = str(caught.value)
    assert all(name in said for name in NAMES)
    assert f"for example from {address}" in said
    assert said.endswith("put them into a folder, and name it with data_dir or FASTNET_DATA_DIR.")
    assert any(word in said.split("Download")[0] for word in reason.split("|"))
    assert not names_in(cached(tmp_path))
    # What it says is what helps.
    monkeypatch.setenv("FASTNET_DATA_DIR", str(tmp_path / "served"))
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)


def test_without_pooch_the_message_says_what_to_do(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnet-nn\[data\]'\. Download train-im"):
        fastnet.load_data("mnist")
    assert not mirrors[0].asked


def test_a_cache_that_cannot_be_made(mirrors: tuple[Mirror, Mirror], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    with pytest.raises(OSError, match=r"mnist is kept in fastnet's cache.*FASTNET_CACHE_DIR.*/c"):
        fastnet.load_data("mnist")
    assert not mirrors[0].asked


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_is_write_protected(mirrors: tuple[Mirror, Mirror], tmp_path: Path) -> None:
    cached(tmp_path).mkdir(parents=True)
    cached(tmp_path).chmod(stat.S_IREAD | stat.S_IEXEC)
    with pytest.raises(PermissionError, match="name another folder with FASTNET_CACHE_DIR"):
        fastnet.load_data("mnist")
    cached(tmp_path).chmod(stat.S_IRWXU)


# -- what lies in the cache -----------------------------------------------------------------------

DAMAGES = {
    "cut off": lambda content: content[:-7],
    "changed": lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
    "emptied": lambda content: b"",
    "another file": lambda content: gzip.compress(b"whole, and something else"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_fetched_again(
    mirrors: tuple[Mirror, Mirror],
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fastnet.load_data("mnist")
    path = cached(tmp_path) / FIRST
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    with monkeypatch.context() as offline:
        cut_off(mirrors[0], NOWHERE, offline)
        with pytest.raises(OSError, match=rf"{FIRST} was there and is damaged; {NOWHERE}: .*Downl"):
            fastnet.load_data("mnist")
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)
    assert path.read_bytes() == whole
    assert mirrors[0].asked[4:] == [f"/{FIRST}"]


def test_what_is_whole_needs_no_network_and_no_pooch(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    fastnet.load_data("mnist")
    cut_off(mirrors[0], NOWHERE, monkeypatch)
    monkeypatch.setitem(sys.modules, "pooch", None)
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_others_may_read_what_the_umask_lets_them(
    mirrors: tuple[Mirror, Mirror], tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        fastnet.load_data("mnist")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in cached(tmp_path).iterdir()}
    assert modes == {0o644}


# -- processes that end, and several at once ------------------------------------------------------

LOAD = """
import json, sys
import fastnet
from fastnet.data import images

mirrors, hashes, most = json.loads(sys.argv[1])
images.MNIST = images.MNIST._replace(mirrors=tuple(mirrors), hashes=hashes)
if most:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    print("rows", len(fastnet.load_data("mnist").X_train))
except OSError as error:
    print(type(error).__name__, error)
"""


def start(most: int = 0) -> subprocess.Popen[str]:
    """Load the set in another process, which can write files of at most so many bytes."""
    known = json.dumps([images.MNIST.mirrors, images.MNIST.hashes, most])
    return subprocess.Popen(
        [sys.executable, "-B", "-c", LOAD, known],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk(mirrors: tuple[Mirror, Mirror], tmp_path: Path) -> None:
    out, err = start(most=100).communicate(timeout=60)
    assert "OSError [Errno" in out, err
    assert "the file was not written, no part of it is left behind" in out
    assert "make room or allow writing there" in out
    assert str(cached(tmp_path) / FIRST) in out
    assert not names_in(cached(tmp_path))
    assert len(mirrors[0].asked) == 1
    assert not mirrors[1].asked  # another mirror makes no room
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_download_starts_over(
    mirrors: tuple[Mirror, Mirror], number: int, tmp_path: Path
) -> None:
    mirrors[0].goes_on.clear()
    with start() as process:
        assert mirrors[0].half_sent.wait(60)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "rows" not in out
    assert not names_in(cached(tmp_path)) & NAMES
    if number == signal.SIGINT:
        assert not names_in(cached(tmp_path))
    mirrors[0].goes_on.set()
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)
    assert names_in(cached(tmp_path)) == NAMES  # and nothing of the process that was killed


def test_two_processes_at_once(mirrors: tuple[Mirror, Mirror], tmp_path: Path) -> None:
    mirrors[0].goes_on.clear()
    with start() as first, start() as second:
        while len(mirrors[0].asked) < 2:
            assert first.poll() is None
            assert second.poll() is None
            time.sleep(0.01)
        mirrors[0].goes_on.set()
        for process in (first, second):
            out, err = process.communicate(timeout=60)
            assert out == "rows 30\n", err
    assert names_in(cached(tmp_path)) == NAMES
    np.testing.assert_array_equal(fastnet.load_data("mnist").X_train, ROWS)


# -- the progress bar -----------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_a_terminal_alone(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream in (io.StringIO(), Terminal()):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stream)
            fastnet.load_data("mnist")
        shown = stream.getvalue()
        assert bool(shown) == stream.isatty()
        for path in cached(tmp_path).iterdir():
            path.unlink()
    assert all(f"mnist: {name}" in shown for name in NAMES)


def test_a_bar_ends_with_the_download_that_fails(
    mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for mirror in mirrors:
        mirror.is_cut = True
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(OSError, match="could not be downloaded"):
        fastnet.load_data("mnist")
    for thread in threading.enumerate():
        if "Refresh" in type(thread).__name__:
            thread.join(10)
            assert not thread.is_alive()
    assert terminal.getvalue().count("\x1b[?25h") == 2  # the cursor is shown again
