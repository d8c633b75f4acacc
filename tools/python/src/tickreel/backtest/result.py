"""What a backtest found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..model import FloatArray, IntArray
from ..render import html_table, number, text_table
from ..times import SECOND_NS
from .account import Account
from .orders import EXACT, Fill, scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

YEAR_NS = 365 * 86_400 * SECOND_NS
"""The year of annualised figures: markets that never close."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The figures of a backtest.

    Cash, fees and round trips are exact `Decimal`; the equity curve and what is computed from it
    are doubles. Equity is the capital, the cash of all fills and the positions at the middle of
    their books, sampled every `sample_ns` of the replay's time.
    """

    capital: Decimal
    account: Account
    fill_list: Sequence[Fill]
    times_ns: IntArray
    equity: FloatArray
    positions: dict[str, FloatArray]
    """The position in each instrument, at the times of the equity."""
    sample_ns: int
    orders: int
    rejected: int
    final_equity: Decimal

    @property
    def pnl(self) -> Decimal:
        """Profit after commission, exactly; open positions at their last marks."""
        return EXACT.subtract(self.final_equity, self.capital)

    @property
    def total_return(self) -> float:
        """Profit as a share of the capital."""
        return float(self.pnl / self.capital)

    @property
    def sharpe(self) -> float | None:
        """Mean over standard deviation (n - 1) of the returns of equity from sample to sample,
        times the root of the samples in a year of 365 days; no interest is taken off. None if
        equity never moved or there are fewer than three samples.
        """
        return sharpe_ratio(self.equity[self._regular], self.sample_ns)

    @property
    def max_drawdown(self) -> float:
        """The largest fall of the equity from a height before it, as a share of that height."""
        return max_drawdown(self.equity)

    @property
    def drawdown(self) -> FloatArray:
        """At each sample, how far equity is below its height so far, as a share of it."""
        return drawdowns(self.equity)

    @property
    def trades(self) -> int:
        """How many fills there were."""
        return len(self.fill_list)

    @property
    def round_trips(self) -> int:
        """How often a position went from flat to flat."""
        return len(self.account.trips)

    @property
    def win_rate(self) -> float | None:
        """The share of round trips that made a profit after commission; None if there were none."""
        trips = self.account.trips
        return sum(trip > 0 for trip in trips) / len(trips) if trips else None

    @property
    def fees(self) -> Decimal:
        """Commission paid, exactly."""
        return self.account.fees

    @property
    def turnover(self) -> Decimal:
        """The sum of price x quantity of all fills."""
        return self.account.turnover

    @property
    def slippage(self) -> Decimal:
        """What takers' fills cost against the middle of the book at the decision, in total."""
        costs = (fill.slippage for fill in self.fill_list if not fill.maker)
        return _sum(cost for cost in costs if cost is not None)

    @property
    def slippage_bps(self) -> float | None:
        """The same in basis points of what takers' fills were worth; None if there were none."""
        worth = _sum(EXACT.multiply(f.price, f.qty) for f in self.fill_list if not f.maker)
        return float(self.slippage / worth) * 1e4 if worth else None

    @property
    def fills(self) -> pa.Table:
        """Every fill, in order; exact numbers as Decimal128."""
        fills = self.fill_list
        return pa.table({
            "ts": pa.array([fill.ts_ns for fill in fills], pa.timestamp("ns", "UTC")),
            "order": pa.array([fill.order.number for fill in fills], pa.int64()),
            "instrument": pa.array([fill.order.instrument for fill in fills], pa.string()),
            "side": pa.array([str(fill.order.side) for fill in fills], pa.string()),
            "price": _exact([fill.price for fill in fills]),
            "qty": _exact([fill.qty for fill in fills]),
            "fee": _exact([fill.fee for fill in fills]),
            "maker": pa.array([fill.maker for fill in fills], pa.bool_()),
            "slippage": _exact([fill.slippage for fill in fills]),
        })  # fmt: skip

    @property
    def equity_curve(self) -> pa.Table:
        """Equity and drawdown by time."""
        times = pa.array(self.times_ns, pa.timestamp("ns", "UTC"))
        return pa.table({"ts": times, "equity": self.equity, "drawdown": self.drawdown})

    def plot(self) -> Figure:
        """Equity, drawdown and positions over time; needs matplotlib."""
        import matplotlib.pyplot as plt

        figure, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(10, 7))
        times: npt.NDArray[Any] = self.times_ns.view("M8[ns]")
        top.plot(times, self.equity, linewidth=1)
        top.set_ylabel("equity")
        middle.fill_between(times, -100 * self.drawdown, 0.0, alpha=0.5)
        middle.set_ylabel("drawdown, %")
        for instrument, position in self.positions.items():
            bottom.step(times, position, where="post", linewidth=1, label=instrument)
        bottom.set_ylabel("position")
        if self.positions:
            bottom.legend(loc="upper left")
        figure.tight_layout()
        return figure

    def __repr__(self) -> str:
        return text_table(("figure", "value"), self._figures(), (1,))

    def _repr_html_(self) -> str:
        return html_table(("figure", "value"), self._figures())

    @property
    def _regular(self) -> slice:
        """The samples that are a whole interval apart: the last may be closer."""
        times = self.times_ns
        odd = len(times) > 1 and int(times[-1] - times[-2]) != self.sample_ns
        return slice(None, -1 if odd else None)

    def _figures(self) -> list[tuple[str, str]]:
        def shown(value: float | None, form: str) -> str:
            return "none" if value is None else format(value, form)

        return [
            ("capital", number(self.capital)),
            ("profit", number(self.pnl)),
            ("return", f"{self.total_return:.4%}"),
            ("Sharpe ratio, a year", shown(self.sharpe, ".2f")),
            ("largest drawdown", f"{self.max_drawdown:.4%}"),
            ("orders / rejected", f"{self.orders} / {self.rejected}"),
            ("fills", str(self.trades)),
            ("round trips", str(self.round_trips)),
            ("of them won", shown(self.win_rate, ".1%")),
            ("turnover", number(self.turnover)),
            ("commission", number(self.fees)),
            ("slippage of takers", number(self.slippage)),
            ("the same, basis points", shown(self.slippage_bps, ".3f")),
        ]


def sharpe_ratio(equity: FloatArray, sample_ns: int) -> float | None:
    """See `Result.sharpe`."""
    if len(equity) < 3:
        return None
    returns = np.diff(equity) / equity[:-1]
    deviation = float(np.std(returns, ddof=1))
    if deviation == 0:
        return None
    return float(np.mean(returns)) / deviation * float(np.sqrt(YEAR_NS / sample_ns))


def drawdowns(equity: FloatArray) -> FloatArray:
    """See `Result.drawdown`."""
    heights = np.maximum.accumulate(equity)
    return np.asarray((heights - equity) / heights, dtype=np.float64)


def max_drawdown(equity: FloatArray) -> float:
    """See `Result.max_drawdown`."""
    return float(np.max(drawdowns(equity))) if len(equity) else 0.0


def _sum(values: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, values, Decimal(0))


def _exact(values: Sequence[Decimal | None]) -> pa.Array:
    """Decimals of one scale: the largest that any needs."""
    scale = max((scale_of(value) for value in values if value is not None), default=0)
    return pa.array(values, pa.decimal256(76, scale))
