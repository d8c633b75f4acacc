"""Lance: a dataset in order of time."""

import lance
import polars as pl

from engines.parquet import fold
from engines.peer import Peer


class Lance(Peer):
    """A folder for each kind."""

    def path(self, kind):
        """The folder of a kind."""
        return str(self.folder / f"{kind}.lance")

    def load(self):
        """Books and trades."""
        lance.write_dataset(
            self.market.read("book").to_arrow(), self.path("book"), mode="overwrite"
        )
        if self.market.trades.exists():
            lance.write_dataset(
                self.market.read("trades").to_arrow(), self.path("trades"), mode="overwrite"
            )

    def prepare(self):
        """An index of the times, which ranges use."""
        lance.dataset(self.path("book")).create_scalar_index("recv", "ZONEMAP")

    def sizes(self):
        """Of the data files, without indexes."""
        return {kind: self.bytes_of(f"{kind}.lance/data/*") for kind in ("book", "trades")}

    def rows(self, **asked):
        """All columns of some rows."""
        rows = lance.dataset(self.path("book")).to_table(**asked)
        return [(rows["price"].to_numpy(), rows["amount"].to_numpy())]

    def scan(self):
        """All columns into memory."""
        return self.rows()

    def book(self, at):
        """All rows of the day until then."""
        rows = lance.dataset(self.path("book")).to_table(
            columns=["flags", "price", "amount"], filter=f"recv <= {at}", scan_in_order=True
        )
        return fold(pl.from_arrow(rows))

    def range(self, start, end):
        """By the index."""
        return self.rows(filter=f"recv >= {start} AND recv < {end}")


PEERS = {"lances": Lance}
