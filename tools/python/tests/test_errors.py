from __future__ import annotations

import random
import unittest
from typing import Any

import grpc

from tickreel import (
    Corrupt,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Retry,
    TickreelError,
    Unavailable,
    Unsupported,
)
from tickreel.channel import target_of
from tickreel.errors import error_of, refusal_of


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, trailers: dict[str, Any], text: str = "why") -> None:
        self._code, self._trailers, self._text = code, trailers, text

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:
        return tuple(self._trailers.items())


class Errors(unittest.TestCase):
    def test_the_code_names_the_class_and_the_text_is_the_servers(self) -> None:
        for code, kind, made in (
            (grpc.StatusCode.NOT_FOUND, "not found", NotFound),
            (grpc.StatusCode.INVALID_ARGUMENT, "invalid", InvalidArgument),
            (grpc.StatusCode.DATA_LOSS, "corrupt", Corrupt),
            (grpc.StatusCode.UNAVAILABLE, "locked", Unavailable),
            (grpc.StatusCode.UNAVAILABLE, "", Unavailable),
            (grpc.StatusCode.FAILED_PRECONDITION, "unsupported", Unsupported),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", ResourceExhausted),
        ):
            error = error_of(Failure(code, {"tickreel-error-kind": kind}))
            self.assertIs(type(error), made)
            self.assertEqual((error.text, error.kind, str(error)), ("why", kind, "why"))
            self.assertIsInstance(error, TickreelError)
        self.assertIsInstance(refusal_of(3, "invalid", "x"), InvalidArgument)
        self.assertIsInstance(refusal_of(8, "a new word", "x"), ResourceExhausted)

    def test_the_delay_that_a_server_asks_for(self) -> None:
        for delay_ms, expected in (("2500", 2.5), ("0", 0.0), ("-1", None), ("soon", None)):
            trailers = {"grpc-retry-pushback-ms": delay_ms}
            error = error_of(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers))
            self.assertEqual(error.retry_after_s, expected)
        without = error_of(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, {}))
        self.assertIsNone(without.retry_after_s)


class Retries(unittest.TestCase):
    def test_waits_double_with_jitter_up_to_the_longest(self) -> None:
        retry = Retry(attempts=6, first_s=1.0, max_s=5.0, random=random.Random(1))
        waits, error = retry.waits(), Unavailable("gone")
        found = [waits.after(error) for _ in range(5)]
        for wait, most in zip(found, (1, 2, 4, 5, 5), strict=True):
            self.assertTrue(most / 2 <= wait <= most, found)
        self.assertEqual(len(set(found)), 5)
        with self.assertRaises(Unavailable):
            waits.after(error)

    def test_only_what_passes_is_tried_again(self) -> None:
        for error in (NotFound("x"), InvalidArgument("x"), Corrupt("x"), ResourceExhausted("x")):
            with self.assertRaises(type(error)):
                Retry().waits().after(error)
        asked = ResourceExhausted("x", retry_after_s=7.0)
        self.assertEqual(Retry().waits().after(asked), 7.0)


class Targets(unittest.TestCase):
    def test_addresses(self) -> None:
        for url, address, secure in (
            ("http://127.0.0.1:7400", "127.0.0.1:7400", False),
            ("127.0.0.1", "127.0.0.1:7400", False),
            ("localhost:1", "localhost:1", False),
            ("https://ticks.example:443", "ticks.example:443", True),
            ("http://[::1]:7", "[::1]:7", False),
        ):
            target = target_of(url, None, None, None, None)
            self.assertEqual((target.address, target.secure), (address, secure))
        for wrong in ("ftp://x", "", "http://", "host:port"):
            with self.assertRaises(InvalidArgument, msg=wrong):
                target_of(wrong, None, None, None, None)

    def test_a_token_never_travels_in_the_open(self) -> None:
        near = target_of("http://127.0.0.1:1", "secret", None, None, None)
        self.assertEqual(near.metadata, (("authorization", "Bearer secret"),))
        with self.assertRaises(InvalidArgument):
            target_of("http://ticks.example:1", "secret", None, None, None)
        with self.assertRaises(InvalidArgument):
            target_of("http://127.0.0.1:1", None, "ca.pem", None, None)
        with self.assertRaises(InvalidArgument):
            target_of("https://127.0.0.1:1", None, None, "cert.pem", None)
        self.assertTrue(target_of("ticks.example:1", None, "ca.pem", None, None).secure)


if __name__ == "__main__":
    unittest.main()
