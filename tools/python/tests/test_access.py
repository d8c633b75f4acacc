"""Servers that want encryption, tokens and certificates."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from support import BTC, DERIBIT, run, sample_store, serve

from tickreel import (
    AsyncClient,
    Client,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Retry,
    TickreelError,
    Unauthenticated,
    Unavailable,
    to_ns,
)

ONCE = Retry(attempts=1)


def certificates(folder: Path) -> None:
    """An authority, a server's certificate for this machine, and a client's."""
    if shutil.which("openssl") is None:
        why = "SKIPPED: TLS tests of the Python client: openssl is absent"
        print(why)
        raise unittest.SkipTest(why)

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test")
    for name in ("server", "client"):
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-new", *key[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")


class Access(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(TemporaryDirectory()))
        self.store = sample_store()

    def tokens(self, **limits: object) -> str:
        """A token, and the file that opens what `limits` say to it."""
        token, entry = run("token", "research").split("\n", 1)
        lines = (f"{name} = {json.dumps(value)}" for name, value in limits.items())
        (self.folder / "tokens.toml").write_text("\n".join([entry, *lines]))
        return token

    def test_a_token_opens_what_it_opens(self) -> None:
        token = self.tokens(instruments=["binance-futures:*"], kinds=["book", "trades"],
                            to="2026-01-06")  # fmt: skip
        url = self.enterContext(serve(self.store, "--tokens", self.folder / "tokens.toml"))
        with Client(url, token=token) as client:
            self.assertEqual(client.instruments(exchange="deribit").names, [])
            rows = client.read(BTC, "trades")
            self.assertLess(rows["ts_recv"][-1].value, to_ns("2026-01-06"))
            self.assertGreater(client.replay(BTC).end().rows, rows.num_rows)
            for error, ask in (
                (NotFound, lambda: client.book(DERIBIT, "2026-01-06")),
                (NotFound, lambda: client.read(BTC, "quotes")),
                (OutOfRange, lambda: client.book(BTC, "2026-01-06T00:00:01Z")),
            ):
                with self.assertRaises(error):
                    ask()
        for wrong in (None, "tickreel_wrong"):
            with Client(url, token=wrong, retry=ONCE) as client:
                with self.assertRaises(Unauthenticated):
                    client.instruments()
                with self.assertRaises(Unauthenticated):
                    client.replay(BTC)

    def test_who_asks_too_often_waits_as_long_as_the_server_says(self) -> None:
        token = self.tokens(requests_per_second=5)
        url = self.enterContext(serve(self.store, "--tokens", self.folder / "tokens.toml"))
        with Client(url, token=token, retry=ONCE) as hasty:
            with self.assertRaises(ResourceExhausted) as refused:
                for _ in range(100):
                    hasty.stats()
            self.assertGreater(refused.exception.retry_after_s or 0, 0)
        with Client(url, token=token, retry=Retry(attempts=50)) as patient:
            for _ in range(12):
                patient.stats()

    def test_tls_and_a_token(self) -> None:
        certificates(self.folder)
        token = self.tokens()
        tls = ("--tls-cert", self.folder / "server.crt", "--tls-key", self.folder / "server.key")
        url = self.enterContext(serve(self.store, *tls, "--tokens", self.folder / "tokens.toml"))
        self.assertTrue(url.startswith("https://"))
        ca = self.folder / "ca.crt"
        with Client(url, token=token, ca=ca) as client:
            self.assertEqual(len(client.instruments().names), 5)

        async def ask() -> int:
            async with AsyncClient(url, token=token, ca=ca) as client:
                return (await client.stats()).instruments

        self.assertEqual(asyncio.run(ask()), 5)
        with Client(url, token=token, retry=ONCE) as stranger, self.assertRaises(Unavailable):
            stranger.stats()  # the authority is none that this machine knows

    def test_certificates_of_clients(self) -> None:
        certificates(self.folder)
        ca, cert, key = (self.folder / name for name in ("ca.crt", "client.crt", "client.key"))
        tls = ("--tls-cert", self.folder / "server.crt", "--tls-key", self.folder / "server.key")
        url = self.enterContext(serve(self.store, *tls, "--client-ca", ca))
        with Client(url, ca=ca, cert=cert, key=key) as client:
            self.assertEqual(client.stats().instruments, 5)
        with Client(url, ca=ca, retry=ONCE) as nobody, self.assertRaises(TickreelError):
            nobody.stats()


if __name__ == "__main__":
    unittest.main()
