"""Bytes per row of real captures: our stores beside the same rows as Vortex and Parquet files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

FILES = ("binance-ws/*.gz",)
# Streams of fewer rows say little.
ROWS_MIN = 50_000


def sizes_of_captures(args, work: Path) -> list[dict]:
    """A row of the table for each book; none, and loudly, if the captures are absent."""
    files = sorted(path for pattern in FILES for path in args.captures.glob(pattern))
    if not files:
        print(f"SKIPPED: no captures in {args.captures}", file=sys.stderr)
        return []
    work = work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    def run(*arguments) -> str:
        command = [args.bin, *map(str, arguments)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=work)
        return done.stdout

    def streams() -> dict[str, tuple[int, int]]:
        found = json.loads(run("bench", "--store", store, "--only", "open", "--json"))["streams"]
        return {stream["stream"]: (stream["rows"], stream["bytes"]) for stream in found}

    store = work / "market.reel"
    run("import", "--store", store, *files)
    sealed = streams()
    books = {
        name: rows
        for name, (rows, _) in sealed.items()
        if "book" in name.split() and rows >= ROWS_MIN
    }
    peers = {name: peer_sizes(run, store, name, work) for name in books}
    run("compact", "--store", store)
    compacted = streams()
    return [
        {
            "what": f"{name}, {rows:,} rows",
            "unit": "B/row",
            "less": True,
            "differs": [],
            "values": {
                "tickreel": sealed[name][1] / rows,
                "compacted": compacted[name][1] / rows,
                **{peer: size / rows for peer, size in peers[name].items()},
            },
        }
        for name, rows in books.items()
    ]


def peer_sizes(run, store: Path, stream: str, work: Path) -> dict[str, int]:
    """Bytes of the rows of a stream in files of the peers."""
    instrument = next(word for word in stream.split() if ":" in word)
    path = work / "rows.parquet"
    run("read", "--store", store, instrument, "--kind", "book", "--format", "parquet", "-o", path)
    rows = exact(pl.from_arrow(pq.read_table(path)))
    path.unlink()
    found = {}
    for peer in ("parquet", "vortices"):
        try:
            module = __import__(f"engines.{peer}", fromlist=["write"])
        except ImportError as error:
            print(f"SKIPPED: {peer}: {error}", file=sys.stderr)
            continue
        file = work / f"rows.{peer}"
        module.write(rows, file)
        found["parquet" if peer == "parquet" else "compact_vortices"] = os.path.getsize(file)
    return found


def exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Times, sequence, one code, price and quantity as the integers that we store."""
    codes = [
        pl.col(name).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.UInt8)
        for name in ("action", "side")
    ]
    numbers = []
    for name in ("price", "qty"):
        decimals = rows.schema[name].scale
        numbers.append((pl.col(name).cast(pl.Float64) * 10**decimals).round().cast(pl.Int64))
    return rows.select(
        pl.col("ts_recv").cast(pl.Int64),
        pl.col("ts_event").cast(pl.Int64),
        pl.col("venue_seq").cast(pl.Int64),
        *codes,
        pl.col("flags").cast(pl.UInt8),
        *numbers,
    )
