"""What can go wrong, as exceptions that keep the server's text and kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

KIND_TRAILER = "tickreel-error-kind"
"""Trailer that holds the kind of a server's error as one word."""

DELAY_TRAILER = "grpc-retry-pushback-ms"
"""Trailer with the milliseconds after which the same may be asked again."""


class TickreelError(Exception):
    """Any failure. `text` is what the server says, `kind` its kind as one word, if it has one.

    `retry_after_s` is how long the server asks to wait before the same is tried again.
    """

    def __init__(self, text: str, kind: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.retry_after_s = retry_after_s


class InvalidArgument(TickreelError, ValueError):  # noqa: N818
    """The request is malformed."""


class NotFound(TickreelError, LookupError):  # noqa: N818
    """There is no such instrument, kind or column."""


class AlreadyExists(TickreelError):  # noqa: N818
    """It is there already."""


class OutOfRange(TickreelError):  # noqa: N818
    """A time outside what was opened."""


class ResourceExhausted(TickreelError):  # noqa: N818
    """Above a limit, too many requests, or a full disk."""


class Corrupt(TickreelError):  # noqa: N818
    """A file of the store is damaged; nothing of the damaged part was given out."""


class Unsupported(TickreelError):  # noqa: N818
    """The server does not do this, e.g. because it only reads."""


class Unavailable(TickreelError):  # noqa: N818
    """The server cannot be reached, stops, or refuses work for now."""


class Stale(TickreelError):  # noqa: N818
    """The store has moved on: start anew."""


class DeadlineExceeded(TickreelError):  # noqa: N818
    """The server, or this client, took too long."""


class Unauthenticated(TickreelError):  # noqa: N818
    """The token or certificate is missing or wrong."""


class PermissionDenied(TickreelError):  # noqa: N818
    """The token does not allow this."""


class Cancelled(TickreelError):  # noqa: N818
    """The request was given up."""


class Internal(TickreelError):  # noqa: N818
    """The server failed; its operator finds more under the number in the text."""


class ProtocolError(TickreelError):
    """The server's answers contradict each other or the contract."""


_BY_KIND: dict[str, type[TickreelError]] = {
    "not found": NotFound,
    "exists": AlreadyExists,
    "out of range": OutOfRange,
    "corrupt": Corrupt,
    "unsupported": Unsupported,
    "limit": ResourceExhausted,
    "full": ResourceExhausted,
    "invalid": InvalidArgument,
    "locked": Unavailable,
    "poisoned": Unavailable,
    "cancelled": Unavailable,
    "stale": Stale,
    "io": Internal,
    "remote": Internal,
}

_BY_CODE: dict[grpc.StatusCode, type[TickreelError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DATA_LOSS: Corrupt,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.FAILED_PRECONDITION: Unsupported,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.ABORTED: Stale,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.CANCELLED: Cancelled,
}


def error_of(error: grpc.RpcError) -> TickreelError:
    """The exception for what gRPC raised."""
    code: grpc.StatusCode = error.code()
    trailers = dict(_pairs(error.trailing_metadata()))
    kind = trailers.get(KIND_TRAILER, "")
    made = _BY_CODE.get(code, Internal)
    # Two kinds of errors share a code; where the code is one of gRPC's own it says more.
    if made in (Internal, ResourceExhausted, Unavailable, Unsupported):
        made = _BY_KIND.get(_text(kind), made)
    text = error.details() or code.name
    return made(text, _text(kind), _retry_after_s(trailers))


def refusal_of(code: int, kind: str, text: str) -> TickreelError:
    """The exception for a refusal inside an answer, with the number of a status code."""
    by_number = {status.value[0]: status for status in grpc.StatusCode}
    made = _BY_KIND.get(kind) or _BY_CODE.get(by_number.get(code, grpc.StatusCode.UNKNOWN))
    return (made or Internal)(text, kind)


def _pairs(metadata: Iterable[Any] | None) -> Iterable[tuple[str, str | bytes]]:
    return ((pair[0], pair[1]) for pair in metadata or ())


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _retry_after_s(trailers: dict[str, str | bytes]) -> float | None:
    """The delay that a server asks for."""
    delay_ms = _text(trailers.get(DELAY_TRAILER, ""))
    return int(delay_ms) / 1000 if delay_ms.isdecimal() else None
