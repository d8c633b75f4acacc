"""Rows for whoever has none: a day of one book, and of fifty books, made by `tickreel bench`."""

import subprocess
from pathlib import Path

import polars as pl

MANY = 50


def markets(binary: Path, work: Path) -> tuple[Path, Path]:
    """Folders of Tardis CSV: one symbol, many symbols. Made once."""
    one, many = work / "one", work / "many"
    if not (many / "incremental_book_L2.csv").exists():
        subprocess.run(
            [binary, "bench", "--growth", "10", "--keep", work],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        write(binary, work / "1x10M.reel", 1, one)
        write(binary, work / f"{MANY}x10M.reel", MANY, many)
    return one, many


def write(binary: Path, store: Path, symbols: int, folder: Path) -> None:
    """All books of a store, merged in order of time, as one file."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in range(symbols):
        path = folder / f"{number}.csv"
        subprocess.run(
            [
                binary,
                "read",
                "--store",
                store,
                f"deribit:BOOK-{number}",
                "--kind",
                "book",
                "--format",
                "tardis-csv",
                "-o",
                path,
            ],
            check=True,
        )
        parts.append(pl.read_csv(path, infer_schema=False))
        path.unlink()
    rows = pl.concat(parts)
    rows = rows.sort(pl.col("local_timestamp").cast(pl.Int64), maintain_order=True)
    rows.write_csv(folder / "incremental_book_L2.csv")
