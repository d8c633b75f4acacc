"""hftbacktest: its own event files, played through its engine by a compiled loop."""

import numpy as np
from hftbacktest import BacktestAsset, ROIVectorMarketDepthBacktest
from hftbacktest.data.utils import tardis
from numba import njit

from engines.peer import Peer

MARKET_FEED = 2


@njit
def play(backtest):
    """Messages until the end, the best prices read after each."""
    messages, prices = 0, 0.0
    while backtest.wait_next_feed(False, 1_000_000_000_000) == MARKET_FEED:
        depth = backtest.depth(0)
        prices += depth.best_bid + depth.best_ask
        messages += 1
    return messages, prices


class Hftbacktest(Peer):
    """A compressed array of events."""

    @property
    def path(self):
        """The file of all events: it has no separate ones for trades."""
        return str(self.folder / "events.npz")

    def warm_up(self):
        """Lets numba compile the converter, with the first lines of each file."""
        heads = []
        for path in (self.market.trades, self.market.book):
            if path.exists():
                head = self.folder / path.name
                with path.open() as rows:
                    head.write_text("".join(next(rows) for _ in range(1000)))
                heads.append(str(head))
        tardis.convert(heads, output_filename=str(self.folder / "head.npz"), buffer_size=10_000)

    def load(self):
        """By its own converter of Tardis files; it wants the trades too."""
        files = [str(path) for path in (self.market.trades, self.market.book) if path.exists()]
        tardis.convert(files, output_filename=self.path, buffer_size=2 * self.market.rows)

    def sizes(self):
        """Books and trades together, counted as books."""
        return {"book": self.bytes_of("events.npz")}

    def replay(self):
        """From events in memory: reading the file is not counted."""
        if not hasattr(self, "events"):
            self.events = np.load(self.path)["data"]
            levels = self.events["px"][self.events["px"] > 0]
            self.bounds = float(levels.min()), float(levels.max())
        ticks, lots = 10.0**-self.market.price_decimals, 10.0**-self.market.qty_decimals
        asset = (
            BacktestAsset()
            .data([self.events])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(ticks)
            .lot_size(lots)
            .roi_lb(self.bounds[0])
            .roi_ub(self.bounds[1])
        )
        backtest = ROIVectorMarketDepthBacktest([asset])
        messages, _ = play(backtest)
        backtest.close()
        return messages


PEERS = {"hft": Hftbacktest}
