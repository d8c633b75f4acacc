#!/usr/bin/env python3
"""Order-book imbalance: where there is much more on one side, the price may go to the other.

    python imbalance.py [URL] [INSTRUMENT]

First it asks whether that is so (how the middle moves in the second after an imbalance), then what
is left of it for somebody who has to pay the spread and a commission.
"""

from __future__ import annotations

import sys
from decimal import Decimal

import numpy as np

from tickreel import Client, Kind, OrderBook
from tickreel.backtest import Backtest, ConstantLatency, Context, Fees, Result, Strategy

DEPTH = 5


class ImbalanceTaker(Strategy):
    """Holds `qty` long while the imbalance is above the threshold, short while it is below."""

    def __init__(self, instrument: str, qty: str, threshold: float) -> None:
        self.instrument = instrument
        self.qty = Decimal(qty)
        self.threshold = threshold
        self.wanted = Decimal(0)

    def on_book(self, ctx: Context, book: OrderBook) -> None:
        """Turns around when the imbalance says so."""
        imbalance = book.imbalance(DEPTH)
        if abs(imbalance) < self.threshold:
            return
        wanted = self.qty if imbalance > 0 else -self.qty
        change, self.wanted = wanted - self.wanted, wanted
        if change > 0:
            ctx.buy(self.instrument, change)
        elif change < 0:
            ctx.sell(self.instrument, -change)


def signal(client: Client, instrument: str) -> float:
    """The correlation of the imbalance now and the move of the middle in the next second."""
    stored = client.instruments(kinds=Kind.BOOK)
    info = next(stream for stream in stored if stream.instrument == instrument)
    imbalances, mids = [], []
    for book in client.books(instrument, info.first_ns, info.last_ns, "1s", DEPTH):
        bids, asks = book.bid_qtys.sum(), book.ask_qtys.sum()
        imbalances.append((bids - asks) / (bids + asks))
        mids.append(book.mid or np.nan)
    moves = np.diff(mids)
    known = ~np.isnan(moves)
    return float(np.corrcoef(np.array(imbalances[:-1])[known], moves[known])[0, 1])


def run(url: str, instrument: str) -> tuple[float, Result]:
    """The correlation, and the figures over all that is stored."""
    backtest = Backtest(
        ImbalanceTaker(instrument, "0.01", 0.8),
        latency=ConstantLatency("5ms"),
        fees=Fees.of(taker="0.0004"),
        capital=10_000,
    )
    with Client(url) as client:
        correlation = signal(client, instrument)
        with client.replay({instrument: Kind.BOOK}) as replay:
            return correlation, backtest.run(replay)


if __name__ == "__main__":
    defaults = ["http://127.0.0.1:7400", "binance-futures:BTCUSDT"]
    url, instrument = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
    correlation, result = run(url, instrument)
    print(f"correlation of imbalance and the next second's move: {correlation:.3f}\n")
    print(result)
