"""Strategies over a replay: orders meet the recorded book, and every assumption is stated.

`Strategy` acts, `Backtest` runs it over a replay or over tables, `Result` says what came of it. The
models: `ConstantLatency`, `RecordedLatency`; `CancelShare`, `Proportional`; `Fees`.
"""

from .engine import Backtest, Context, Strategy, Trade
from .models import (
    CancelShare,
    ConstantLatency,
    Fees,
    Latency,
    Proportional,
    QueueModel,
    RecordedLatency,
)
from .orders import Fill, Order, OrderSide, OrderState
from .result import Result
from .source import tables

__all__ = [
    "Backtest",
    "CancelShare",
    "ConstantLatency",
    "Context",
    "Fees",
    "Fill",
    "Latency",
    "Order",
    "OrderSide",
    "OrderState",
    "Proportional",
    "QueueModel",
    "RecordedLatency",
    "Result",
    "Strategy",
    "Trade",
    "tables",
]
