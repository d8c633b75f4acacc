"""The questions that need one or several requests, without the sending.

An operation is a generator: it yields a `Call`, is sent its answer, and returns the result. The
client drives it with blocking calls, the async one with awaited ones.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from ._proto import tickreel_pb2 as pb
from .convert import (
    GAPS_MAX,
    Kinds,
    book_from,
    book_request,
    coverage_from,
    coverage_request,
    instruments_request,
    stats_from,
    streams_from,
)
from .model import Book, Coverage, ServerStats, StreamCoverage, StreamInfo, Streams
from .times import Time

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be sent: the method of the stub, and its message."""

    method: str
    request: Any


Operation: TypeAlias = Generator[Call, Any, Result]


def instruments(exchange: str, contains: str, kinds: Kinds) -> Operation[Streams]:
    """Every page of what is stored."""
    request = instruments_request(exchange, contains, kinds)
    found: list[StreamInfo] = []
    while True:
        answer: pb.ListInstrumentsResponse = yield Call("ListInstruments", request)
        found.extend(streams_from(answer))
        # A token that does not move on would go round for ever.
        if answer.next_page_token <= request.page_token:
            return Streams(found)
        request.page_token = answer.next_page_token


def coverage(
    instrument: str, kinds: Kinds, start: Time | None, end: Time | None
) -> Operation[Coverage]:
    """Ranges, and all gaps of every stream."""
    request = coverage_request(instrument, kinds, start, end)
    found: dict[str, StreamCoverage] = {}
    while True:
        answer: pb.GetCoverageResponse = yield Call("GetCoverage", request)
        more = False
        for stream in answer.streams:
            part = coverage_from(instrument, stream)
            held = found.get(part.kind)
            whole = replace(part, gaps=held.gaps + part.gaps) if held else part
            found[part.kind] = whole
            more |= bool(part.gaps) and len(whole.gaps) < stream.gaps_total
        if not more:
            return Coverage(found.values())
        request.gaps_skip += GAPS_MAX


def book(instrument: str, at: Time, depth: int | None) -> Operation[Book]:
    """One book."""
    answer: pb.Book = yield Call("GetBook", book_request(instrument, at, depth))
    return book_from(answer)


def stats() -> Operation[ServerStats]:
    """Figures of the server."""
    answer: pb.GetStatsResponse = yield Call("GetStats", pb.GetStatsRequest())
    return stats_from(answer)
