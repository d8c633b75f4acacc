"""A server of the sample market, and what the `tickreel` program itself says of it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import socket
import subprocess
import tempfile
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BTC = "binance-futures:BTCUSDT"
DERIBIT = "deribit:BTC-PERPETUAL"
MIDNIGHT = "2026-01-06T00:00:00Z"

_SKIP = "SKIPPED: tests of the Python client against the program: TICKREEL_BIN names none"


@functools.cache
def binary() -> Path:
    """The program, or no test."""
    path = Path(os.environ.get("TICKREEL_BIN", ""))
    if not path.is_file():
        print(_SKIP)
        raise unittest.SkipTest(_SKIP)
    return path


def run(*args: str | Path) -> str:
    """What the program prints."""
    done = subprocess.run([binary(), *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{args}: {done.stderr}")
    return done.stdout


@functools.cache
def folder() -> Path:
    """A folder for one run of the tests."""
    made = tempfile.TemporaryDirectory(prefix="tickreel-python-")
    atexit.register(made.cleanup)
    return Path(made.name)


@functools.cache
def sample_store() -> Path:
    """The store of the sample market: 20 minutes of five instruments."""
    run("demo", "--dir", folder() / "demo")
    return folder() / "demo" / "market.reel"


@contextmanager
def serve(store: Path, *args: str | Path) -> Iterator[str]:
    """A server of a store; its address."""
    command = [binary(), "serve", "--store", store, "--listen", "127.0.0.1:0", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            line = child.stderr.readline() if child.stderr else ""
            urls = [word for word in line.split() if word.startswith(("http://", "https://"))]
            if not urls:
                raise AssertionError(f"no address: {line}")
            yield urls[0]
        finally:
            child.terminate()
            child.communicate()


class Proxy:
    """Stands between clients and a server, and cuts their connections when it is told to."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition("/")[2].partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends every connection."""
        doomed, self._open = self._open, []
        for end in doomed:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError), source:
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class ServerTest(unittest.TestCase):
    """Tests that share a server of the sample market."""

    store: Path
    url: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.store = sample_store()
        cls.url = cls.enterClassContext(serve(cls.store))


def ask(command: str, *args: str | Path) -> Any:
    """What the program says of the sample market, read from its JSON."""
    return json.loads(run(command, "--store", sample_store(), *args, "--json"))


def rows(*args: str | Path) -> list[dict[str, Any]]:
    """The rows that the program reads from the sample market."""
    text = run("read", "--store", sample_store(), *args, "--format", "ndjson")
    return [json.loads(line) for line in text.splitlines()]
