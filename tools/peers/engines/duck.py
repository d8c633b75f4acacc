"""DuckDB: one table in order of time, one by symbol, and checkpoints of the book made by hand."""

import bisect

import duckdb

from engines.peer import Peer

# Rows between two checkpoints.
SPACING = 65_536


class Duck(Peer):
    """A database file."""

    def __init__(self, folder, market):
        """Opens the file with one thread."""
        super().__init__(folder, market)
        self.db = duckdb.connect(str(folder / "market.duckdb"), config={"threads": 1})
        self.starts = None

    def run(self, command):
        """All rows of the result: one that is not read to its end blocks the connection."""
        return self.db.execute(command).fetchall()

    def load(self):
        """Reads the files with DuckDB's own reader."""
        price, qty = self.market.price_decimals, self.market.qty_decimals
        types = f"types={{'price': 'DECIMAL(18,{price})', 'amount': 'DECIMAL(18,{qty})'}}"
        side = "CASE side WHEN 'ask' THEN 1 WHEN 'sell' THEN 1 ELSE 0 END"
        columns = (
            f"local_timestamp AS recv, timestamp AS event, "
            f"(price * {10**price})::BIGINT AS price, (amount * {10**qty})::BIGINT AS amount"
        )
        self.run(
            f"CREATE OR REPLACE TABLE book AS SELECT symbol, {columns}, "
            f"({side} + 2 * is_snapshot::TINYINT)::UTINYINT AS flags "
            f"FROM read_csv('{self.market.book}', {types})"
        )
        if self.market.trades.exists():
            self.run(
                f"CREATE OR REPLACE TABLE trades AS SELECT symbol, {columns}, id, "
                f"({side})::UTINYINT AS flags FROM read_csv('{self.market.trades}', {types})"
            )
        self.run("CHECKPOINT")

    def prepare(self):
        """What questions want beyond the rows; no part of the import."""
        if len(self.market.symbols) > 1:
            self.run(
                "CREATE OR REPLACE TABLE by_symbol AS "
                "SELECT * FROM book ORDER BY symbol, recv, rowid"
            )
            return
        self.run(
            "CREATE OR REPLACE TABLE checkpoints "
            "(n INTEGER, side UTINYINT, price BIGINT, amount BIGINT)"
        )
        for n in range(1, self.market.rows // SPACING + 1):
            self.run(
                f"INSERT INTO checkpoints SELECT {n}, side, price, amount FROM "
                f"({self.fold(n - 1, f'rowid < {n * SPACING}')})"
            )
        self.run("CHECKPOINT")

    def fold(self, n, until):
        """The book of checkpoint `n` and the rows after it."""
        return (
            "SELECT side, price, arg_max(amount, seq) AS amount FROM ("
            f"SELECT -1 AS seq, side, price, amount FROM checkpoints WHERE n = {n} UNION ALL "
            "SELECT rowid, flags & 1, price, amount "
            f"FROM book WHERE rowid >= {n * SPACING} AND {until}) "
            "GROUP BY side, price HAVING arg_max(amount, seq) > 0"
        )

    def sizes(self):
        """Blocks of the columns of each table."""
        found = {}
        for kind in ("book", "trades"):
            blocks = self.run(
                "SELECT count(DISTINCT block_id) * (SELECT block_size FROM pragma_database_size()) "
                f"FROM pragma_storage_info('{kind}') WHERE block_id >= 0"
            )
            found[kind] = int(blocks[0][0])
        return found

    def scan(self):
        """Sums over all columns, in the engine: the first three are compared."""
        found = self.run(
            "SELECT count(*), sum(price), sum(amount), sum(recv), sum(event), sum(flags) FROM book"
        )
        return tuple(map(int, found[0][:3]))

    def book(self, at):
        """From the checkpoint before."""
        if self.starts is None:
            starts = self.run(f"SELECT recv FROM book WHERE rowid % {SPACING} = 0 ORDER BY rowid")
            self.starts = [row[0] for row in starts]
        n = max(0, bisect.bisect_right(self.starts, at) - 1)
        found = self.db.sql(self.fold(n, f"recv <= {at}")).fetchnumpy()
        return found["side"], found["price"], found["amount"]

    def rows(self, table, where="true"):
        """All columns of some rows, as record batches."""
        batches = self.db.sql(f"SELECT * FROM {table} WHERE {where}").to_arrow_reader(100_000)
        return [(b.column("price").to_numpy(), b.column("amount").to_numpy()) for b in batches]

    def range(self, start, end):
        """By the zone maps of the times."""
        return self.rows("book", f"recv >= {start} AND recv < {end}")

    def merged(self):
        """The table is in order of time."""
        return self.rows("book")

    minute = range

    def day(self, symbol):
        """By the zone maps of the symbols."""
        return self.rows("by_symbol", f"symbol = '{symbol}'")


PEERS = {"duck": Duck}
