"""Ours, sealed as an import leaves it and compacted: the binary alone, as any user has it."""

import json
import os
import subprocess
from decimal import Decimal

import polars as pl
import pyarrow.parquet as pq

from engines.peer import Peer, cpu_seconds

# What `tickreel bench` calls the questions.
BENCH = {
    "scan": "scan",
    "book": "book",
    "range": "range",
    "replay": "replay",
    "merged": "merged",
    "minute": "minute",
    "day": "day",
}


class Tickreel(Peer):
    """A store as an import seals it."""

    def run(self, *arguments) -> str:
        """Runs the binary, which must succeed."""
        command = [os.environ["TICKREEL_BIN"], *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @property
    def store(self):
        """Where the rows are."""
        return self.folder / "market.reel"

    def load(self):
        """Imports both files."""
        files = [path for path in (self.market.book, self.market.trades) if path.exists()]
        self.run("import", "--store", self.store, "--replace", *files)

    def sizes(self):
        """Of the segments, by kind."""
        streams = json.loads(self.run("bench", "--store", self.store, "--only", "open", "--json"))
        sizes = {}
        for stream in streams["streams"]:
            kind = stream["stream"].rsplit(" ")[-1]
            kind = "book" if "book" in kind else "trades"
            sizes[kind] = sizes.get(kind, 0) + stream["bytes"]
        return sizes

    def measure(self, question):
        """Imports are timed from outside, all else by the binary itself."""
        if question == "load":
            return super().measure(question)
        before = cpu_seconds()
        text = self.run("bench", "--store", self.store, "--only", BENCH[question], "--json")
        # Of merged streams, first with their books and trades, then the rows that peers have.
        figure = json.loads(text)["figures"][-1]
        return {**figure, "cpu_s": cpu_seconds() - before}

    def rows(self, symbol, *more):
        """Rows of a book as exact integers, without resets."""
        path = self.folder / "rows.parquet"
        self.run(
            "read",
            "--store",
            self.store,
            f"{self.market.exchange}:{symbol}",
            "--kind",
            "book",
            "--columns",
            "action,price,qty",
            "--format",
            "parquet",
            "-o",
            path,
            *more,
        )
        rows = pl.from_arrow(pq.read_table(path)).filter(pl.col("action").cast(pl.String) == "set")
        path.unlink()
        exact = (
            (pl.col("price"), self.market.price_decimals),
            (pl.col("qty"), self.market.qty_decimals),
        )
        rows = rows.select((c.cast(pl.Float64) * 10**d).round().cast(pl.Int64) for c, d in exact)
        return [(rows["price"].to_numpy(), rows["qty"].to_numpy())]

    def scan(self):
        """Rows of the only symbol."""
        return self.rows(self.market.symbols[0])

    def book(self, at):
        """The levels as they are printed."""
        name = f"{self.market.exchange}:{self.market.symbols[0]}"
        text = self.run("book", "--store", self.store, name, "--at", at * 1000, "--json")
        sides, prices, qtys = [], [], []
        for side, levels in enumerate(("bids", "asks")):
            for price, qty in json.loads(text)[levels]:
                sides.append(side)
                prices.append(int(Decimal(price).scaleb(self.market.price_decimals)))
                qtys.append(int(Decimal(qty).scaleb(self.market.qty_decimals)))
        return sides, prices, qtys

    def range(self, start, end):
        """Rows of the only symbol."""
        span = ("--from", start * 1000, "--to", end * 1000)
        return self.rows(self.market.symbols[0], *span)

    def minute(self, start, end):
        """Rows of all symbols."""
        span = ("--from", start * 1000, "--to", end * 1000)
        return [part for symbol in self.market.symbols for part in self.rows(symbol, *span)]

    def replay(self):
        """Is measured only: what it comes to is compared as books."""
        raise NotImplementedError

    def merged(self):
        """All rows."""
        return [part for symbol in self.market.symbols for part in self.rows(symbol)]

    def day(self, symbol):
        """Rows of one symbol."""
        return self.rows(symbol)


class Compacted(Tickreel):
    """The same store after `tickreel compact`."""

    def load(self):
        """Imports and compacts."""
        super().load()
        self.run("compact", "--store", self.store)


PEERS = {"tickreel": Tickreel, "compacted": Compacted}
