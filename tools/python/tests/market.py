"""Markets written by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tickreel import Chunk, Frame, Kind
from tickreel.columns import Texts, Values
from tickreel.frames import Run
from tickreel.schema import NULL, RESET, SET

NAME = "x:Y"

Rows = list[list[tuple[int, int, int, int]]]


def chunk(messages: Rows, price_scale: int = 1, qty_scale: int = 0, ts_ns: int = 100) -> Chunk:
    """Messages of a book: rows of (action, side, price, qty); a nanosecond apart."""
    rows = [row for message in messages for row in message]
    columns = dict(zip(("action", "side", "price", "qty"), zip(*rows, strict=True), strict=True))
    times = range(ts_ns, ts_ns + len(messages))
    values = {name: _values(column) for name, column in columns.items()}
    values["price"] = _values(columns["price"], price_scale)
    values["qty"] = _values(columns["qty"], qty_scale)
    values |= {"ts_recv": _values(times), "ts_event": _values([time - 1 for time in times])}
    values |= {"flags": _values([0] * len(messages)), "venue_seq": _values(times)}
    ends = np.cumsum([len(message) for message in messages])
    return Chunk(0, NAME, Kind.BOOK, len(rows), len(messages), ends, values)


def _values(ints: object, scale: int = 0) -> Values:
    return Values(np.array(ints, dtype=np.int64), scale=scale)


class Market:
    """Messages in the order they are added, a frame each. Prices and quantities are whole numbers,
    unless a scale is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def snapshot(self, ts_ns: int, bids: dict[int, int], asks: dict[int, int]) -> Market:
        """A reset and all levels."""
        return self._book(ts_ns, [(RESET, 0, 0, 0), *_levels(bids, asks)])

    def levels(
        self,
        ts_ns: int,
        bids: dict[int, int] | None = None,
        asks: dict[int, int] | None = None,
        scales: tuple[int, int] = (0, 0),
    ) -> Market:
        """Levels that changed; without any, one far away."""
        rows = _levels(bids or {}, asks or {}) or [(SET, 0, 1, 1)]
        return self._book(ts_ns, rows, scales)

    def gap(self, ts_ns: int) -> Market:
        """Messages are missing."""
        return self._book(ts_ns, [(2, 0, 0, 0)])

    def trade(
        self, ts_ns: int, side: str, price: int, qty: int, ts_event_ns: int | None = None
    ) -> Market:
        """A print."""
        event = NULL if ts_event_ns is None else ts_event_ns
        values = {
            "ts_recv": _values([ts_ns]),
            "ts_event": _values([event]),
            "side": _values([("buy", "sell", "unknown").index(side)]),
            "price": _values([price]),
            "qty": _values([qty]),
            "trade_id": Values(np.zeros(0, np.int64), Texts.of([b""])),
        }
        return self._add(Chunk(1, NAME, Kind.TRADES, 1, 1, np.array([1]), values))

    def _book(
        self, ts_ns: int, rows: list[tuple[int, int, int, int]], scales: tuple[int, int] = (0, 0)
    ) -> Market:
        return self._add(chunk([rows], *scales, ts_ns))

    def _add(self, made: Chunk) -> Market:
        ts_ns = made.lists("ts_recv")[0][0]
        self.frames.append(Frame((made,), (Run(made, 0, 1),), ts_ns, ts_ns, made.rows))
        return self


def _levels(bids: dict[int, int], asks: dict[int, int]) -> list[tuple[int, int, int, int]]:
    sides = ((0, bids), (1, asks))
    return [(SET, side, price, qty) for side, book in sides for price, qty in book.items()]
