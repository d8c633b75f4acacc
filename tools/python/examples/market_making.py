#!/usr/bin/env python3
"""Market making: a bid and an ask around the middle, leaning against the position.

    python market_making.py [URL] [INSTRUMENT]

The demo's market serves: `tickreel demo`, then `tickreel serve --store tickreel-demo/market.reel`.
"""

from __future__ import annotations

import sys
from decimal import Decimal

from tickreel import Client, Kind
from tickreel.backtest import (
    Backtest,
    Context,
    Fees,
    Order,
    OrderSide,
    Proportional,
    RecordedLatency,
    Result,
    Strategy,
)


class MarketMaker(Strategy):
    """Quotes `half_spread` from the middle, on each side, and moves both against its position."""

    def __init__(
        self, instrument: str, qty: str, half_spread: str, skew: str, position_max: str
    ) -> None:
        self.instrument = instrument
        self.qty = Decimal(qty)
        self.half_spread = Decimal(half_spread)
        self.skew = Decimal(skew)
        """How far quotes move for each `qty` that is held."""
        self.position_max = Decimal(position_max)
        self.tick = Decimal("0.1")
        self.quotes: dict[OrderSide, Order] = {}

    def on_start(self, ctx: Context) -> None:
        """Looks again twice a second."""
        ctx.every("500ms")

    def on_timer(self, ctx: Context, name: str) -> None:
        """Moves the quotes to where they should be."""
        mid = ctx.book(self.instrument).mid
        if mid is None:
            return
        position = ctx.position(self.instrument)
        center = mid - position / self.qty * self.skew
        self.quote(ctx, OrderSide.BUY, center - self.half_spread, position < self.position_max)
        self.quote(ctx, OrderSide.SELL, center + self.half_spread, position > -self.position_max)

    def quote(self, ctx: Context, side: OrderSide, price: Decimal, wanted: bool) -> None:
        """One order of a side at a price, or none."""
        price = price.quantize(self.tick)
        order = self.quotes.get(side)
        if order is not None and not order.state.is_final:
            if wanted and order.price == price:
                return
            ctx.cancel(order)
        if wanted:
            send = ctx.buy if side is OrderSide.BUY else ctx.sell
            self.quotes[side] = send(self.instrument, self.qty, price, post_only=True)


def run(url: str, instrument: str) -> Result:
    """The figures over all that is stored."""
    strategy = MarketMaker(instrument, "0.01", "2", "0.5", "0.1")
    backtest = Backtest(
        strategy,
        latency=RecordedLatency("2ms", "2ms"),
        queue=Proportional(),
        fees=Fees.of(maker="0.0", taker="0.0004"),
        capital=10_000,
    )
    with Client(url) as client, client.replay({instrument: [Kind.BOOK, Kind.TRADES]}) as replay:
        return backtest.run(replay)


if __name__ == "__main__":
    defaults = ["http://127.0.0.1:7400", "binance-futures:BTCUSDT"]
    url, instrument = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
    print(run(url, instrument))
