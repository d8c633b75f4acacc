"""What is asked of a peer, and how it is timed."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import numpy as np

MINUTE = 60_000_000
# A question is asked so often, or until so much time is over.
CALLS = 2000
SECONDS = 4.0
OF_ONE = ["load", "scan", "book", "range", "replay"]
OF_MANY = ["load", "merged", "minute", "day"]
# Books and ranges that are compared.
CHECKS = 8


class Peer:
    """A store of the rows of a market, in a folder. A question it has no method for is not asked.

    Times are microseconds. Rows are answered as a list of (price, quantity) arrays, or as what they
    sum up to where the store sums up itself.
    """

    def __init__(self, folder: Path, market):
        """Opens what an earlier `load` left."""
        self.folder, self.market = folder, market

    # def load(self): Tardis CSV to files of its own
    # def sizes(self) -> dict of bytes by kind
    # def scan(self) -> rows of all columns
    # def book(self, at) -> arrays of side, price, quantity; any order
    # def range(self, start, end) -> rows
    # def replay(self) -> messages, with the best prices read after each
    # def merged(self) -> rows in order of time
    # def minute(self, start, end) -> rows of all symbols in order of time
    # def day(self, symbol) -> rows

    def bytes_of(self, pattern: str) -> int:
        """Bytes of all files that match."""
        files = (path for path in self.folder.glob(pattern) if path.is_file())
        return sum(path.stat().st_size for path in files)

    def measure(self, question: str) -> dict:
        """Asks once, then again and again."""
        calls = self.calls(question)
        if question != "load":
            next(calls)()
        elif hasattr(self, "warm_up"):
            self.warm_up()
        taken, rows, began, cpu = [], 0, time.monotonic(), cpu_seconds()
        wall_calls = []
        for _ in range(1 if question == "load" else CALLS):
            call = next(calls)
            started, before = time.perf_counter(), cpu_seconds()
            answer = call()
            wall_calls.append(time.perf_counter() - started)
            taken.append(cpu_seconds() - before)
            rows += self.market.rows if question in ("load", "replay") else rows_of(answer)
            if time.monotonic() - began > SECONDS:
                break
        return {
            "rows_per_cpu_s": rows / max(sum(taken), 1e-9),
            "p50_us": float(np.quantile(wall_calls, 0.50)) * 1e6,
            "p99_us": float(np.quantile(wall_calls, 0.99)) * 1e6,
            "calls": len(wall_calls),
            "cpu_s": cpu_seconds() - cpu,
        }

    def calls(self, question: str):
        """Calls of a question, each with a time or symbol of its own."""
        method, chance = getattr(self, question), random.Random(7)
        first, last = self.market.first, self.market.last
        while True:
            at = chance.randint(first, last)
            if question == "book":
                yield lambda at=at: method(at)
            elif question in ("range", "minute"):
                yield lambda at=at: method(at, at + MINUTE)
            elif question == "day":
                symbol = self.market.symbols[at % len(self.market.symbols)]
                yield lambda symbol=symbol: method(symbol)
            else:
                yield method

    def answers(self) -> dict:
        """What must be equal of all peers."""
        chance = random.Random(11)
        first, last = self.market.first, self.market.last
        times = [chance.randint(first, last) for _ in range(CHECKS)]
        symbols = self.market.symbols[:: max(1, len(self.market.symbols) // 3)]
        found = {}
        asked = [q for q in (OF_ONE, OF_MANY)[len(symbols) > 1] if hasattr(self, q)]
        for question in ("scan", "merged"):
            if question in asked:
                found[question] = totals(getattr(self, question)())
        if "book" in asked:
            found["book"] = [levels_hash(*self.book(at)) for at in times]
        for question in ("range", "minute"):
            if question in asked:
                method = getattr(self, question)
                found[question] = [totals(method(at, at + MINUTE)) for at in times]
        if "day" in asked:
            found["day"] = [totals(self.day(symbol)) for symbol in symbols]
        return found


def cpu_seconds() -> float:
    """User and system time of this process and its children."""
    return sum(os.times()[:4])


def rows_of(answer) -> int:
    """How many rows an answer has."""
    if isinstance(answer, list):
        return sum(len(price) for price, _ in answer)
    return answer[0] if isinstance(answer, tuple) and isinstance(answer[0], int) else 0


def totals(answer) -> list[int]:
    """Rows, and the sums of prices and quantities."""
    if isinstance(answer, list):
        sums = [
            (len(p), int(np.sum(p, dtype=np.int64)), int(np.sum(q, dtype=np.int64)))
            for p, q in answer
        ]
        return [sum(column) for column in zip(*sums, strict=True)] if sums else [0, 0, 0]
    return list(answer) if isinstance(answer, tuple) and isinstance(answer[0], int) else []


def levels_hash(side, price, qty) -> str:
    """A hash of a book, whatever order its levels are in."""
    side, price, qty = (np.asarray(part, dtype=np.int64) for part in (side, price, qty))
    order = np.lexsort((price, side))
    whole = np.stack([side[order], price[order], qty[order]])
    return f"{whole.shape[1]} levels {hashlib.sha256(whole.tobytes()).hexdigest()[:16]}"
