"""Bytes per row of our stores beside the same rows as Vortex and Parquet files.

Stores hold what no CSV does: nanoseconds and the venue's sequence.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

# Captures of Binance, under the folder of captures.
FILES = "binance-ws/*.gz"
# Streams of fewer rows say little.
ROWS_MIN = 50_000
# Columns of the table.
PEERS = ["tickreel", "compacted", "compact_vortices", "parquet"]


class Sizes:
    """The books of one store."""

    def __init__(self, binary: Path, work: Path):
        """`work` is emptied."""
        self.binary, self.work = binary.resolve(), work.resolve()
        self.store = self.work / "market.reel"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    def run(self, *arguments) -> str:
        """Runs the binary, which must succeed."""
        command = [self.binary, *map(str, arguments)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.work)
        return done.stdout

    def books(self) -> dict[str, tuple[int, int]]:
        """Rows and bytes of each book."""
        found = json.loads(self.run("bench", "--store", self.store, "--only", "open", "--json"))
        return {
            stream["stream"]: (stream["rows"], stream["bytes"])
            for stream in found["streams"]
            if "book" in stream["stream"].split() and stream["rows"] >= ROWS_MIN
        }

    def rows(self) -> list[dict]:
        """Rows of the table."""
        sealed = self.books()
        values = {book: self.of_peers(book) for book in sealed}
        self.run("compact", "--store", self.store)
        compacted = self.books()
        for book in sealed:
            values[book] |= {"tickreel": sealed[book][1], "compacted": compacted[book][1]}
        return [
            {
                "what": f"{book}, {count:,} rows",
                "unit": "B/row",
                "less": True,
                "differs": [],
                "values": {peer: size / count for peer, size in values[book].items()},
            }
            for book, (count, _) in sealed.items()
        ]

    def of_peers(self, book: str) -> dict[str, int]:
        """Bytes of the rows of a book in files of the peers."""
        instrument = next(word for word in book.split() if ":" in word)
        path = self.work / "rows.parquet"
        place = ("--store", self.store, instrument, "--kind", "book")
        self.run("read", *place, "--format", "parquet", "-o", path)
        rows = exact(pl.from_arrow(pq.read_table(path)))
        path.unlink()
        found = {}
        for peer, module in (("parquet", "parquet"), ("compact_vortices", "vortices")):
            try:
                importlib.import_module(f"engines.{module}").write(rows, path)
                found[peer] = path.stat().st_size
            except ImportError as error:
                print(f"SKIPPED: {peer}: {error}", file=sys.stderr)
        return found


def of_captures(binary: Path, folder: Path, work: Path) -> list[dict]:
    """Of the captures in a folder; nothing, and loudly, if they are absent."""
    files = sorted(path.resolve() for path in folder.glob(FILES))
    if not files:
        print(f"SKIPPED: no captures in {folder}", file=sys.stderr)
        return []
    sizes = Sizes(binary, work)
    sizes.run("import", "--store", sizes.store, *files)
    return sizes.rows()


def of_store(binary: Path, store: Path, work: Path) -> list[dict]:
    """Of a store, which is copied."""
    sizes = Sizes(binary, work)
    shutil.copytree(store, sizes.store)
    return sizes.rows()


def exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Times, sequence, codes, price and quantity as the integers that we store."""
    codes = [
        pl.col(name).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.UInt8)
        for name in ("action", "side")
    ]
    numbers = [
        (pl.col(name).cast(pl.Float64) * 10 ** rows.schema[name].scale).round().cast(pl.Int64)
        for name in ("price", "qty")
    ]
    return rows.select(
        pl.col("ts_recv").cast(pl.Int64),
        pl.col("ts_event").cast(pl.Int64),
        pl.col("venue_seq").cast(pl.Int64),
        *codes,
        pl.col("flags").cast(pl.UInt8),
        *numbers,
    )
