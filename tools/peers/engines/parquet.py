"""Parquet files, compressed by zstd, written and read by polars."""

import polars as pl

from engines.peer import Peer

ROW_GROUP = 65_536


class Parquet(Peer):
    """A file in order of time; of many symbols another in order of symbols."""

    def path(self, name):
        """The file of some rows."""
        return self.folder / f"{name}.parquet"

    def load(self):
        """Books and trades."""
        write(self.market.read("book"), self.path("book"))
        if self.market.trades.exists():
            write(self.market.read("trades"), self.path("trades"))

    def prepare(self):
        """Rows of each symbol together, where there are many."""
        if len(self.market.symbols) > 1:
            rows = pl.read_parquet(self.path("book")).sort("symbol", maintain_order=True)
            write(rows, self.path("by_symbol"))

    def sizes(self):
        """Of the files."""
        return {kind: self.bytes_of(f"{kind}.parquet") for kind in ("book", "trades")}

    def rows(self, name, where=None):
        """All columns of some rows."""
        rows = pl.scan_parquet(self.path(name))
        rows = (rows if where is None else rows.filter(where)).collect()
        return [(rows["price"].to_numpy(), rows["amount"].to_numpy())]

    def scan(self):
        """All columns into memory."""
        return self.rows("book")

    def book(self, at):
        """All rows of the day until then."""
        rows = pl.scan_parquet(self.path("book")).filter(pl.col("recv") <= at)
        return fold(rows.select("flags", "price", "amount").collect())

    def range(self, start, end):
        """Row groups that may hold the time."""
        return self.rows("book", (pl.col("recv") >= start) & (pl.col("recv") < end))

    merged = scan
    minute = range

    def day(self, symbol):
        """Row groups that may hold the symbol."""
        return self.rows("by_symbol", pl.col("symbol") == self.market.symbols.index(symbol))


def write(rows, path):
    """Writes rows as a file."""
    rows.write_parquet(path, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)


def fold(rows):
    """The book after rows in order."""
    levels = rows.group_by(pl.col("flags") & 1, "price").agg(pl.col("amount").last())
    levels = levels.filter(pl.col("amount") > 0)
    return tuple(levels[name].to_numpy() for name in ("flags", "price", "amount"))


PEERS = {"parquet": Parquet}
