"""Vortex files, with its default encodings and with its compact ones."""

import polars as pl
import vortex
import vortex.expr as ve

from engines.parquet import fold
from engines.peer import Peer


def write(rows, path, compact=True):
    """Writes rows as a file."""
    options = vortex.io.VortexWriteOptions
    options = options.compact() if compact else options.default()
    options.write(rows.to_arrow(), str(path))


class Vortex(Peer):
    """A file in order of time, mapped; of many symbols another in order of symbols."""

    compact = False

    def path(self, name):
        """The file of some rows."""
        return self.folder / f"{name}.vortex"

    def load(self):
        """Books and trades."""
        write(self.market.read("book"), self.path("book"), self.compact)
        if self.market.trades.exists():
            write(self.market.read("trades"), self.path("trades"), self.compact)

    def prepare(self):
        """Rows of each symbol together, where there are many."""
        if len(self.market.symbols) > 1:
            rows = self.market.read("book").sort("symbol", maintain_order=True)
            write(rows, self.path("by_symbol"), self.compact)

    def sizes(self):
        """Of the files."""
        return {kind: self.bytes_of(f"{kind}.vortex") for kind in ("book", "trades")}

    def open(self, name):
        """A file, opened once."""
        opened = self.__dict__.setdefault("opened", {})
        if name not in opened:
            opened[name] = vortex.open(str(self.path(name)), memory_map=True)
        return opened[name]

    def rows(self, name, where=None):
        """All columns of some rows, batch by batch."""
        batches = self.open(name).to_arrow(expr=where)
        return [(b.column("price").to_numpy(), b.column("amount").to_numpy()) for b in batches]

    def scan(self):
        """All columns, batch by batch."""
        return self.rows("book")

    def book(self, at):
        """All rows of the day until then."""
        until = ve.column("recv") <= at
        rows = self.open("book").to_arrow(["flags", "price", "amount"], expr=until)
        return fold(pl.from_arrow(rows.read_all()))

    def range(self, start, end):
        """Chunks that may hold the time."""
        return self.rows("book", (ve.column("recv") >= start) & (ve.column("recv") < end))

    merged = scan
    minute = range

    def day(self, symbol):
        """Chunks that may hold the symbol."""
        number = ve.literal(vortex.uint(16), self.market.symbols.index(symbol))
        return self.rows("by_symbol", ve.column("symbol") == number)


class Compact(Vortex):
    """Smaller, and slower."""

    compact = True


PEERS = {"vortices": Vortex, "compact_vortices": Compact}
