"""ArcticDB: a symbol of it for each of ours, indexed by time, in LMDB."""

import arcticdb
import pandas as pd
import polars as pl

from engines.parquet import fold
from engines.peer import Peer


class Arctic(Peer):
    """A library in a folder."""

    def __init__(self, folder, market):
        """Opens the library."""
        super().__init__(folder, market)
        self.arctic = arcticdb.Arctic(f"lmdb://{folder}?map_size=8GB")
        self.library = self.arctic.get_library("market", create_if_missing=True)

    def load(self):
        """Books and trades, symbol by symbol."""
        for kind in ("book", "trades"):
            if kind == "trades" and not self.market.trades.exists():
                continue
            rows = self.market.read(kind)
            for number, symbol in enumerate(self.market.symbols):
                part = rows.filter(pl.col("symbol") == number).drop("symbol").to_pandas()
                part.index = pd.DatetimeIndex(pd.to_datetime(part.pop("recv"), unit="us"))
                self.library.write(f"{kind} {symbol}", part)

    def sizes(self):
        """Of the compressed columns; the LMDB file around them has free pages."""
        found = {}
        for name in self.library.list_symbols():
            sizes = self.library.admin_tools().get_sizes_for_symbol(name)
            kind = name.split(" ")[0]
            found[kind] = found.get(kind, 0) + sum(s.bytes_compressed for s in sizes.values())
        return found

    def read(self, symbol, span=None):
        """All columns of a symbol."""
        return self.library.read(f"book {symbol}", date_range=span).data

    def rows(self, symbol, span=None):
        """What is compared of them."""
        rows = self.read(symbol, span)
        return [(rows["price"].to_numpy(), rows["amount"].to_numpy())]

    def span(self, start, end):
        """Both ends are inclusive here."""
        return tuple(pd.to_datetime(t, unit="us") for t in (start, end))

    def scan(self):
        """All columns into memory."""
        return self.rows(self.market.symbols[0])

    def book(self, at):
        """All rows of the day until then."""
        rows = self.read(self.market.symbols[0], self.span(self.market.first, at))
        return fold(
            pl.DataFrame({name: rows[name].to_numpy() for name in ("flags", "price", "amount")})
        )

    def range(self, start, end):
        """Rows of the only symbol."""
        return self.rows(self.market.symbols[0], self.span(start, end - 1))

    def day(self, symbol):
        """A symbol as a whole."""
        return self.rows(symbol)


PEERS = {"arctic": Arctic}
