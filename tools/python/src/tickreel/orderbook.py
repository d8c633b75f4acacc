"""A book that is kept by applying rows: exact integers, fast enough for a replay."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal

import numpy as np

from .columns import Chunk
from .frames import Frame
from .model import Book, BookState, IntArray, decimal_of
from .schema import ASK, BID, GAP, NULL, RESET, Kind

_BULK_ROWS = 64
"""From so many rows on, a side is updated at once and sorted when it is next looked at."""


class Side:
    """The levels of one side: mantissa of the price to mantissa of the quantity."""

    __slots__ = ("_keys", "_sign", "levels")

    def __init__(self, side: int) -> None:
        self.levels: dict[int, int] = {}
        # Sorted so that the best is last, where changes are most: few keys move.
        self._sign = 1 if side == BID else -1
        self._keys: list[int] | None = []

    def clear(self) -> None:
        """Removes all levels."""
        self.levels.clear()
        self._keys = []

    def set(self, price: int, qty: int) -> None:
        """The quantity at a price is now this; 0 removes the level."""
        levels = self.levels
        if qty:
            if price not in levels and self._keys is not None:
                key = price * self._sign
                self._keys.insert(bisect_left(self._keys, key), key)
            levels[price] = qty
        elif levels.pop(price, None) is not None and self._keys is not None:
            del self._keys[bisect_left(self._keys, price * self._sign)]

    def set_many(self, prices: list[int], qtys: list[int]) -> None:
        """Sets many levels, in order; a price may come again."""
        levels = self.levels
        levels.update(zip(prices, qtys, strict=True))
        for price, qty in zip(prices, qtys, strict=True):
            if not qty and not levels.get(price, 1):
                del levels[price]
        self._keys = None

    def rescale(self, factor: int) -> None:
        """Multiplies all prices."""
        self.levels = {price * factor: qty for price, qty in self.levels.items()}
        self._keys = None

    def best(self) -> int | None:
        """The best price."""
        keys = self._sorted()
        return keys[-1] * self._sign if keys else None

    def top(self, depth: int | None = None) -> list[tuple[int, int]]:
        """Price and quantity of the best levels, best first; all if `depth` is None."""
        keys = self._sorted()
        chosen = keys[::-1] if depth is None else keys[: -depth - 1 : -1]
        return [(key * self._sign, self.levels[key * self._sign]) for key in chosen]

    def _sorted(self) -> list[int]:
        if self._keys is None:
            self._keys = sorted(price * self._sign for price in self.levels)
        return self._keys


class OrderBook:
    """The book of one instrument, kept by applying the rows of a replay.

    All state is exact: prices and quantities are integers, value = mantissa x 10^-scale. `state`,
    `stale_since_ns` and `missing` follow the rules of the server, so that after the same messages
    the book equals the server's.

    Example:
        >>> book = OrderBook("binance-futures:BTCUSDT")
        >>> for event in replay:                                    # doctest: +SKIP
        ...     if isinstance(event, Book | Frame):
        ...         book.apply(event)

    """

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.state = BookState.EMPTY
        self.stale_since_ns: int | None = None
        self.missing = 0
        self.price_scale = 0
        self.qty_scale = 0
        self.ts_recv_ns: int | None = None
        self.ts_event_ns: int | None = None
        self.bids = Side(BID)
        self.asks = Side(ASK)

    @classmethod
    def from_book(cls, book: Book) -> OrderBook:
        """A book that goes on from one of the server's; it must have all levels."""
        made = cls(book.instrument)
        made.load(book)
        return made

    def load(self, book: Book) -> None:
        """Becomes one of the server's books; it must have all levels to go on exactly."""
        self.state, self.missing = book.state, book.missing
        self.stale_since_ns = book.stale_since_ns
        self.ts_recv_ns, self.ts_event_ns = book.ts_recv_ns, book.ts_event_ns
        self.price_scale, self.qty_scale = book.price_scale, book.qty_scale
        for side, prices, qtys in (
            (self.bids, book.bid_price_ints, book.bid_qty_ints),
            (self.asks, book.ask_price_ints, book.ask_qty_ints),
        ):
            side.clear()
            side.set_many(prices.tolist(), qtys.tolist())

    def apply(self, rows: Frame | Chunk | Book) -> None:
        """Applies what a replay gives; rows of other instruments and kinds are passed over."""
        if isinstance(rows, Book):
            if rows.instrument == self.instrument:
                self.load(rows)
        elif isinstance(rows, Chunk):
            self.apply_messages(rows, 0, rows.messages)
        else:
            # One stream's chunks are in its order; how streams interleave is nothing to a book.
            for chunk in rows.chunks:
                self.apply_messages(chunk, 0, chunk.messages)

    def apply_messages(self, chunk: Chunk, start: int, end: int) -> None:
        """Applies messages `start` to `end` (exclusive) of a chunk."""
        if chunk.kind is not Kind.BOOK or chunk.instrument != self.instrument or start >= end:
            return
        factors = self._scaled_to(chunk)
        first = chunk.row_ends_list[start - 1] if start else 0
        last = chunk.row_ends_list[end - 1]
        if last - first < _BULK_ROWS or factors != (1, 1):
            self._apply_rows(chunk, first, last, factors)
        else:
            self._apply_bulk(chunk, first, last)
        (received,) = chunk.lists("ts_recv")
        (event,) = chunk.lists("ts_event")
        self.ts_recv_ns = received[end - 1]
        self.ts_event_ns = None if event[end - 1] == NULL else event[end - 1]

    def widen(self, price_scale: int, qty_scale: int) -> None:
        """Counts in smaller units from now on, if these are smaller."""
        if price_scale > self.price_scale:
            factor = 10 ** (price_scale - self.price_scale)
            self.price_scale = price_scale
            for side in (self.bids, self.asks):
                side.rescale(factor)
        if qty_scale > self.qty_scale:
            factor = 10 ** (qty_scale - self.qty_scale)
            self.qty_scale = qty_scale
            for side in (self.bids, self.asks):
                side.levels = {price: qty * factor for price, qty in side.levels.items()}

    @property
    def best_bid(self) -> Decimal | None:
        """The highest bid, exactly."""
        return self._price(self.bids.best())

    @property
    def best_ask(self) -> Decimal | None:
        """The lowest ask, exactly."""
        return self._price(self.asks.best())

    @property
    def mid(self) -> Decimal | None:
        """The middle of best bid and ask, exactly; None if one is missing."""
        bid, ask = self.bids.best(), self.asks.best()
        if bid is None or ask is None:
            return None
        return decimal_of((bid + ask) * 5, self.price_scale + 1)

    def imbalance(self, depth: int = 5) -> float:
        """(bids - asks) / (bids + asks) of the quantities of the best levels; 0 of none."""
        bids = sum(qty for _, qty in self.bids.top(depth))
        asks = sum(qty for _, qty in self.asks.top(depth))
        return (bids - asks) / (bids + asks) if bids + asks else 0.0

    def to_book(self, depth: int | None = None) -> Book:
        """The book as the server gives it, as of the last message applied."""
        bids, asks = self.bids.top(depth), self.asks.top(depth)
        return Book(
            instrument=self.instrument,
            at_ns=self.ts_recv_ns or 0,
            state=self.state,
            stale_since_ns=self.stale_since_ns,
            missing=self.missing,
            ts_event_ns=self.ts_event_ns,
            ts_recv_ns=self.ts_recv_ns,
            venue_seq=None,
            price_scale=self.price_scale,
            qty_scale=self.qty_scale,
            bid_price_ints=_array(price for price, _ in bids),
            bid_qty_ints=_array(qty for _, qty in bids),
            ask_price_ints=_array(price for price, _ in asks),
            ask_qty_ints=_array(qty for _, qty in asks),
            bid_levels=len(self.bids.levels),
            ask_levels=len(self.asks.levels),
        )

    def __repr__(self) -> str:
        return repr(self.to_book())

    def _repr_html_(self) -> str:
        return self.to_book()._repr_html_()

    def _price(self, mantissa: int | None) -> Decimal | None:
        return None if mantissa is None else decimal_of(mantissa, self.price_scale)

    def _scaled_to(self, chunk: Chunk) -> tuple[int, int]:
        """Widens to the chunk's scales; what its prices and quantities are multiplied by."""
        price_scale, qty_scale = chunk.scale("price"), chunk.scale("qty")
        self.widen(price_scale, qty_scale)
        return 10 ** (self.price_scale - price_scale), 10 ** (self.qty_scale - qty_scale)

    def _apply_rows(self, chunk: Chunk, first: int, last: int, factors: tuple[int, int]) -> None:
        actions, sides, prices, qtys = chunk.lists("action", "side", "price", "qty")
        by_code = (self.bids, self.asks)
        for row in range(first, last):
            if actions[row]:
                self._mark(chunk, row)
            else:
                by_code[sides[row]].set(prices[row] * factors[0], qtys[row] * factors[1])

    def _apply_bulk(self, chunk: Chunk, first: int, last: int) -> None:
        """As row by row: what stood before the last reset is gone, then the last set wins."""
        actions, sides, prices, qtys = (
            chunk.values[name].ints[first:last] for name in ("action", "side", "price", "qty")
        )
        start = 0
        for row in np.flatnonzero(actions).tolist():
            self._mark(chunk, first + row)
            start = row + 1 if actions[row] == RESET else start
        sets = actions[start:] == 0
        for code, side in ((BID, self.bids), (ASK, self.asks)):
            chosen = np.flatnonzero(sets & (sides[start:] == code)) + start
            if len(chosen):
                side.set_many(prices[chosen].tolist(), qtys[chosen].tolist())

    def _mark(self, chunk: Chunk, row: int) -> None:
        """A row that is no level: a reset or a gap."""
        action = int(chunk.values["action"].ints[row])
        if action == RESET:
            self.bids.clear()
            self.asks.clear()
            self.state, self.stale_since_ns, self.missing = BookState.LIVE, None, 0
        elif action == GAP:
            message = bisect_left(chunk.row_ends_list, row + 1)
            self._gap(
                int(chunk.values["ts_recv"].ints[message]),
                max(0, int(chunk.values["qty"].ints[row]) // 10 ** chunk.scale("qty")),
            )

    def _gap(self, ts_recv_ns: int, missing: int) -> None:
        if self.state is BookState.STALE:
            known = self.missing and missing
            self.missing = min(self.missing + missing, 2**64 - 1) if known else 0
            return
        self.state, self.stale_since_ns, self.missing = BookState.STALE, ts_recv_ns, missing


def _array(values: object) -> IntArray:
    return np.fromiter(values, dtype=np.int64)  # type: ignore[call-overload, no-any-return]
