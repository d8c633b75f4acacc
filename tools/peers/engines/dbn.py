"""DBN: records of 56 bytes in a zstd file, as Databento delivers them."""

import databento_dbn as dbn
import numpy as np
import zstandard

from engines.peer import Peer

# A market-by-order record; a level that is set stands as a modified order.
RECORD = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "S1"),
        ("side", "S1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
# Prices are in units of 10^-9.
PRICE_DECIMALS = 9
LAST = 128
MBO = 160


class Dbn(Peer):
    """A file for books."""

    @property
    def path(self):
        """The compressed file."""
        return self.folder / "book.dbn.zst"

    def load(self):
        """Quantities above 2^32 do not fit: they stand in the order id."""
        rows = self.market.read("book")
        records = np.zeros(len(rows), RECORD)
        records["length"], records["rtype"] = RECORD.itemsize // 4, MBO
        records["instrument_id"] = rows["symbol"]
        records["ts_event"], records["ts_recv"] = rows["event"] * 1000, rows["recv"] * 1000
        records["price"] = rows["price"] * 10 ** (PRICE_DECIMALS - self.market.price_decimals)
        records["order_id"] = rows["amount"]
        flags = rows["flags"].to_numpy()
        records["action"], records["side"] = b"M", np.where(flags & 1, b"A", b"B")
        records["flags"] = (flags & 2) << 4
        meta = dbn.Metadata(
            dataset="TEST",
            start=self.market.first * 1000,
            stype_in=None,
            stype_out=dbn.SType.INSTRUMENT_ID,
            schema=dbn.Schema.MBO,
            symbols=[],
            partial=[],
            not_found=[],
            mappings=[],
        )
        head = bytes(meta.encode())
        with self.path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as out:
            out.write(head)
            out.write(records)
        (self.folder / "head").write_text(str(len(head)))

    def sizes(self):
        """Of the compressed file."""
        return {"book": self.bytes_of("book.dbn.zst")}

    def scan(self):
        """All records into one array, as Databento's client has them."""
        with self.path.open("rb") as file:
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        records = np.frombuffer(data, RECORD, offset=int((self.folder / "head").read_text()))
        scale = 10 ** (PRICE_DECIMALS - self.market.price_decimals)
        return [(records["price"] // scale, records["order_id"])]


PEERS = {"dbn": Dbn}
