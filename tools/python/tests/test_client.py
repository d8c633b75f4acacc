from __future__ import annotations

import asyncio
import json
import unittest
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from support import BTC, DERIBIT, MIDNIGHT, ServerTest, ask, rows, run

from tickreel import (
    AsyncClient,
    Book,
    BookState,
    Client,
    InvalidArgument,
    Kind,
    NotFound,
    ResourceExhausted,
    Retry,
    Unavailable,
    to_ns,
)

STALE = "2026-01-05T23:56:40.373418350Z"
SECOND = 10**9


def exact(book: Book) -> dict[str, Any]:
    """A book as `tickreel book --json` prints it."""

    def side(levels: list[tuple[Decimal, Decimal]]) -> list[list[Decimal]]:
        return [list(level) for level in levels]

    return {
        "at_ns": book.at_ns,
        "ts_event_ns": book.ts_event_ns,
        "ts_recv_ns": book.ts_recv_ns,
        "venue_seq": book.venue_seq,
        "state": str(book.state),
        "missing": book.missing,
        "bids": side(book.exact_bids),
        "asks": side(book.exact_asks),
    }


class Asking(ServerTest):
    def setUp(self) -> None:
        self.client = self.enterContext(Client(self.url))

    def test_instruments_are_those_of_the_store(self) -> None:
        found = self.client.instruments()
        lines = run("ls", "--store", self.store, "--json").splitlines()
        expected = [json.loads(line) for line in lines if '"kind"' in line]
        self.assertEqual(
            [(s.instrument, s.kind, s.rows, s.first_ns, s.last_ns, f"{s.hash:016x}")
             for s in found],
            [(f"{s['exchange']}:{s['symbol']}", s["kind"], s["rows"], s["first_ns"], s["last_ns"],
              s["content_hash"]) for s in expected],
        )  # fmt: skip
        self.assertEqual(len(found.names), 5)
        some = self.client.instruments(exchange="deribit", kinds=["book", Kind.TRADES])
        self.assertEqual([(s.instrument, s.kind) for s in some],
                         [(DERIBIT, "book"), (DERIBIT, "trades")])  # fmt: skip
        self.assertEqual(self.client.instruments(contains="ETH").names, ["binance-futures:ETHUSDT"])

    def test_coverage_has_the_gaps(self) -> None:
        found = self.client.coverage(BTC, "book")
        (book,) = found
        self.assertEqual((len(book.spans), len(book.gaps)), (1, 2))
        self.assertLess(book.gaps[0].since_ns, to_ns(STALE))
        late = self.client.coverage(BTC, "book", start=book.gaps[0].until_ns or 0)
        self.assertEqual(late[0].gaps, book.gaps[1:])

    def test_a_book_is_the_one_of_the_store(self) -> None:
        for at, depth in ((MIDNIGHT, None), (STALE, 3), (to_ns(MIDNIGHT) + 1, 1), (0, None)):
            more = ["--depth", str(depth)] if depth else []
            stored = ask("book", BTC, "--at", str(to_ns(at)), *more)
            book = self.client.book(BTC, at, depth)
            for name, value in exact(book).items():
                expected = stored[name]
                if name in ("bids", "asks"):
                    expected = [[Decimal(part) for part in level] for level in expected]
                self.assertEqual(value, expected, (at, name))

    def test_a_book_as_numbers(self) -> None:
        book = self.client.book(BTC, MIDNIGHT, depth=5)
        self.assertEqual(book.state, BookState.LIVE)
        self.assertEqual((len(book.bid_prices), len(book.ask_qtys)), (5, 5))
        self.assertTrue(
            np.all(np.diff(book.bid_prices) < 0) and np.all(np.diff(book.ask_prices) > 0)
        )
        self.assertEqual(book.best_bid, float(book.exact_bids[0][0]))
        self.assertLess(book.best_bid or 0, book.mid or 0)
        self.assertLess(book.mid or 0, book.best_ask or 0)
        self.assertEqual(book.spread, float(book.exact_asks[0][0] - book.exact_bids[0][0]))
        self.assertGreater(book.bid_levels, 5)

    def test_books_at_regular_times_are_those_at_each(self) -> None:
        start = to_ns(MIDNIGHT)
        sampled = list(self.client.books(BTC, MIDNIGHT, start + 3 * SECOND, "1s", depth=4))
        self.assertEqual([book.at_ns - start for book in sampled], [0, SECOND, 2 * SECOND])
        for book in sampled:
            self.assertEqual(exact(book), exact(self.client.book(BTC, book.at_ns, 4)))

    def test_rows_are_those_of_the_store(self) -> None:
        end = to_ns(MIDNIGHT) + SECOND
        for kind in ("book", "trades", "quotes", "status", "ticker"):
            instrument = BTC if kind == "status" else DERIBIT
            stored = rows(instrument, "--kind", kind, "--to", str(end))
            table = self.client.read(instrument, kind, end=end, exact=True)
            self.assertEqual(table.num_rows, len(stored))
            decimals = [f.name for f in table.schema if pa.types.is_decimal(f.type)]
            for name in [*decimals, "trade_id", "side", "action", "what", "detail", "venue_seq"]:
                if name not in table.column_names:
                    continue
                expected: list[Any] = [row[name] for row in stored]
                if name in decimals:
                    expected = [None if v is None else Decimal(v) for v in expected]
                self.assertEqual(table[name].to_pylist(), expected, (kind, name))
            times = table["ts_recv"].cast(pa.int64()).to_pylist()
            self.assertEqual(times, [row["ts_recv_ns"] for row in stored])
            self.assertLess(times[-1], end)

    def test_rows_of_columns_and_of_no_time(self) -> None:
        table = self.client.read(
            BTC, "trades", MIDNIGHT, to_ns(MIDNIGHT) + SECOND, ["price", "side"]
        )
        self.assertEqual(table.column_names, ["price", "side"])
        self.assertEqual(table["price"].type, pa.float64())
        empty = self.client.read(BTC, "trades", 0, 1)
        self.assertEqual((empty.num_rows, empty.num_columns), (0, 6))
        batches = list(self.client.read_batches(BTC, "quotes", exact=True))
        self.assertGreater(len(batches), 1)
        self.assertTrue(
            self.client.read(BTC, "quotes", exact=True).equals(pa.Table.from_batches(batches))
        )

    def test_rows_that_meet_conditions(self) -> None:
        found = self.client.read(BTC, "trades", where=["side=buy", "qty>=0.1"])
        everything = self.client.read(BTC, "trades")
        meets = pc.and_(pc.equal(everything["side"].cast("string"), "buy"),
                        pc.greater_equal(everything["qty"], 0.1))  # fmt: skip
        self.assertTrue(found.equals(everything.filter(meets)))
        self.assertGreater(found.num_rows, 10)
        with self.assertRaises(InvalidArgument):
            self.client.read(BTC, "trades", where="side=buy")
        with self.assertRaises(InvalidArgument):
            self.client.read(BTC, "trades", where=["qty~1"])

    def test_rows_in_pandas_polars_and_duckdb(self) -> None:
        import duckdb

        trades = self.client.read(BTC, "trades")
        qty = float(pc.sum(trades["qty"]).as_py())
        frame = trades.to_pandas()
        self.assertAlmostEqual(float(frame["qty"].sum()), qty)
        self.assertEqual(str(frame["ts_recv"].dtype), "datetime64[ns, UTC]")
        polars = pl.from_arrow(trades)
        assert isinstance(polars, pl.DataFrame)
        self.assertAlmostEqual(float(polars["qty"].sum()), qty)
        self.assertEqual(polars["ts_recv"].dtype, pl.Datetime("ns", "UTC"))
        asked = duckdb.sql("select sum(qty), count(*), epoch_ns(max(ts_recv)) from trades")
        assert asked is not None
        found = asked.fetchall()[0]
        self.assertAlmostEqual(found[0], qty)
        last = trades["ts_recv"][-1].value
        self.assertEqual(found[1:], (trades.num_rows, last))

    def test_stats(self) -> None:
        stats = self.client.stats()
        self.assertEqual((stats.instruments, stats.streams), (5, len(self.client.instruments())))

    def test_errors_are_exceptions_with_the_servers_text(self) -> None:
        with self.assertRaises(NotFound) as unknown:
            self.client.book("deribit:NOPE", 0)
        self.assertIn("deribit:NOPE", unknown.exception.text)
        self.assertEqual(unknown.exception.kind, "not found")
        with self.assertRaises(ResourceExhausted) as deep:
            self.client.book(BTC, 0, depth=2**31)
        self.assertEqual(deep.exception.kind, "limit")
        with self.assertRaises(NotFound):
            self.client.read(BTC, "trades", columns=["colour"])
        with self.assertRaises(NotFound):
            list(self.client.books("deribit:NOPE", 0, 10, 1))
        for wrong in (
            lambda: self.client.read(BTC, "candles"),
            lambda: self.client.book(BTC, 0, depth=0),
            lambda: self.client.read(BTC, "trades", columns="price"),
            lambda: self.client.book("no colon", 0),
        ):
            with self.assertRaises(InvalidArgument):
                wrong()

    def test_a_server_that_is_not_there_is_tried_again_and_named(self) -> None:
        client = self.enterContext(Client("127.0.0.1:1", retry=Retry(attempts=2, first_s=0.01)))
        with self.assertRaises(Unavailable):
            client.stats()
        with self.assertRaises(Unavailable):
            client.read(BTC, "trades")

    def test_tables_for_notebooks(self) -> None:
        streams, coverage = self.client.instruments(), self.client.coverage(BTC)
        stale, book = (self.client.book(BTC, at, depth=3) for at in (STALE, MIDNIGHT))
        self.assertEqual(len(repr(streams).splitlines()), 1 + len(streams))
        self.assertIn("unknown", repr(coverage))
        ladder = repr(book).splitlines()
        self.assertIn("stale since 2026-01-05T23:56:40", repr(stale).splitlines()[0])
        self.assertEqual([line.split()[2] for line in ladder[2:5]], ["ask"] * 3)
        self.assertTrue(ladder[5].startswith("-- spread "))
        prices = [Decimal(line.split()[0]) for line in ladder[2:5] + ladder[6:]]
        self.assertEqual(prices, sorted(prices, reverse=True))
        for shown in (streams, coverage, book):
            self.assertTrue(shown._repr_html_().startswith("<table>"))


class AsyncAsking(ServerTest):
    def test_the_async_client_answers_the_same(self) -> None:
        asyncio.run(self.compare())

    async def compare(self) -> None:
        start, end = to_ns(MIDNIGHT), to_ns(MIDNIGHT) + 2 * SECOND
        with Client(self.url) as client:
            async with AsyncClient(self.url) as other:
                self.assertEqual(list(await other.instruments()), list(client.instruments()))
                self.assertEqual(list(await other.coverage(BTC)), list(client.coverage(BTC)))
                self.assertEqual(
                    exact(await other.book(BTC, start)), exact(client.book(BTC, start))
                )
                sampled = [exact(b) async for b in other.books(BTC, start, end, "1s", 3)]
                self.assertEqual(
                    sampled, [exact(b) for b in client.books(BTC, start, end, "1s", 3)]
                )
                table = await other.read(BTC, "book", start, end)
                self.assertTrue(table.equals(client.read(BTC, "book", start, end)))
                batches = [batch async for batch in other.read_batches(BTC, "book", start, end)]
                self.assertTrue(table.equals(pa.Table.from_batches(batches)))
                self.assertEqual((await other.stats()).rows, client.stats().rows)
                with self.assertRaises(NotFound):
                    await other.book("deribit:NOPE", 0)
                with self.assertRaises(NotFound):
                    [b async for b in other.books("deribit:NOPE", 0, 10, 1)]
        async with AsyncClient("127.0.0.1:1", retry=Retry(attempts=2, first_s=0.01)) as nobody:
            with self.assertRaises(Unavailable):
                await nobody.stats()


if __name__ == "__main__":
    unittest.main()
