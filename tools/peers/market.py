"""The rows that every peer is given: Tardis CSV files of books and trades."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

BOOK = "incremental_book_L2.csv"
TRADES = "trades.csv"


@dataclass(frozen=True)
class Market:
    """A folder of Tardis CSV files. Times are microseconds, numbers have fixed decimals."""

    folder: str
    exchange: str
    symbols: list[str]
    price_decimals: int
    qty_decimals: int
    rows: int
    first: int
    last: int
    book_bytes: int
    book_mtime_ns: int

    @property
    def book(self) -> Path:
        """The file of book rows."""
        return Path(self.folder) / BOOK

    @property
    def trades(self) -> Path:
        """The file of trades."""
        return Path(self.folder) / TRADES

    def read(self, kind: str) -> pl.DataFrame:
        """Rows of a kind with exact integers; the fastest way that Python has."""
        numbers = {"price": self.price_decimals, "amount": self.qty_decimals}
        exact = [(pl.col(n) * 10**d).round().cast(pl.Int64) for n, d in numbers.items()]
        rows = pl.read_csv(self.book if kind == "book" else self.trades, schema_overrides=FLOATS)
        side = (pl.col("side").is_in(["ask", "sell"])).cast(pl.UInt8)
        symbol = pl.col("symbol").replace_strict(
            self.symbols, range(len(self.symbols)), return_dtype=pl.UInt16
        )
        times = [pl.col("local_timestamp").alias("recv"), pl.col("timestamp").alias("event")]
        if kind == "book":
            flags = side | (pl.col("is_snapshot").cast(pl.UInt8) * 2)
            return rows.select(symbol, *times, flags.alias("flags"), *exact)
        return rows.select(symbol, *times, side.alias("flags"), pl.col("id"), *exact)


FLOATS = {"price": pl.Float64, "amount": pl.Float64}


def describe(folder: Path, cache: Path) -> Market:
    """Looks through the book file; what was found is kept in `cache` while the file is the same."""
    stat = (folder / BOOK).stat()
    seen = {
        "folder": str(folder),
        "book_bytes": stat.st_size,
        "book_mtime_ns": stat.st_mtime_ns,
    }
    if cache.exists():
        kept = json.loads(cache.read_text())
        if kept.items() >= seen.items():
            return Market(**kept)
    texts = {"price": pl.String, "amount": pl.String}
    rows = pl.scan_csv(folder / BOOK, schema_overrides=texts)
    found = rows.select(
        pl.col("exchange").first(),
        pl.col("symbol").unique().sort().implode(),
        decimals("price"),
        decimals("amount"),
        pl.len().alias("rows"),
        pl.col("local_timestamp").min().alias("first"),
        pl.col("local_timestamp").max().alias("last"),
    ).collect()
    row = found.row(0, named=True)
    market = Market(
        exchange=row["exchange"],
        symbols=list(row["symbol"]),
        price_decimals=row["price"],
        qty_decimals=row["amount"],
        rows=row["rows"],
        first=row["first"],
        last=row["last"],
        **seen,
    )
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(asdict(market)))
    return market


def decimals(name: str) -> pl.Expr:
    """Most digits behind the point in a column of text."""
    return (
        pl.col(name).str.split(".").list.get(1, null_on_oob=True).str.len_chars().max().fill_null(0)
    )
