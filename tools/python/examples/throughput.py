#!/usr/bin/env python3
"""How many rows a second come through: read, replayed, and kept as a book.

python throughput.py [URL] [INSTRUMENT]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tickreel import Book, Client, Frame, Kind, OrderBook
from tickreel.backtest import Backtest, Context, Strategy


class BestPrices(Strategy):
    """Looks at the best prices after every message."""

    def on_book(self, ctx: Context, book: OrderBook) -> None:
        """Looks."""
        self.best = book.bids.best(), book.asks.best()


def measured(what: str, work: Callable[[], int]) -> tuple[str, int, float]:
    """The rows of some work, and the seconds it took at best of three."""
    best_s, rows = float("inf"), 0
    for _ in range(3):
        start = time.perf_counter()
        rows = work()
        best_s = min(best_s, time.perf_counter() - start)
    return what, rows, best_s


def figures(url: str, instrument: str) -> list[tuple[str, int, float]]:
    """Every way to get the rows of an instrument."""
    with Client(url) as client:

        def replay_frames() -> int:
            return client.replay(client.instruments().names).end().rows

        def replay_messages() -> int:
            with client.replay({instrument: Kind.BOOK}) as replay:
                return sum(len(message.rows) for message in replay.messages())

        def keep_book() -> int:
            book, rows = OrderBook(instrument), 0
            with client.replay({instrument: Kind.BOOK}) as replay:
                for event in replay:
                    if isinstance(event, Book | Frame):
                        book.apply(event)
                        rows += event.rows if isinstance(event, Frame) else 0
            return rows

        def backtest() -> int:
            with client.replay({instrument: [Kind.BOOK, Kind.TRADES]}) as replay:
                Backtest(BestPrices()).run(replay)
            return sum(s.rows for s in client.instruments() if s.instrument == instrument
                       and s.kind in (Kind.BOOK, Kind.TRADES))  # fmt: skip

        return [
            measured("read, doubles", lambda: client.read(instrument, "book").num_rows),
            measured("read, exact", lambda: client.read(instrument, "book", exact=True).num_rows),
            measured("replay of everything, frames", replay_frames),
            measured("replay, a book kept by frame", keep_book),
            measured("replay, rows as named tuples", replay_messages),
            measured("backtest, best prices of each message", backtest),
        ]


if __name__ == "__main__":
    defaults = ["http://127.0.0.1:7400", "binance-futures:BTCUSDT"]
    url, instrument = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
    for what, rows, seconds in figures(url, instrument):
        print(f"{what:40} {rows:>10,} rows {rows / seconds:>12,.0f} rows/s")
