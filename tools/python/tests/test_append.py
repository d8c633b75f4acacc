from __future__ import annotations

import asyncio
import unittest
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from support import ServerTest, serve

from tickreel import (
    Accepted,
    AsyncClient,
    Client,
    Durable,
    InvalidArgument,
    NotAccepted,
    Unsupported,
)

NAME = "binance-futures:BTCUSDT"


def prints(first: int, count: int) -> pa.Table:
    times = range(first, first + count)
    return pa.table({
        "ts_recv": pa.array(times, pa.timestamp("ns", "UTC")),
        "side": ["buy"] * count,
        "price": ["61701.20"] * count,
        "qty": pa.array([Decimal("1.440")] * count, pa.decimal128(10, 3)),
        "trade_id": [str(time) for time in times],
    })  # fmt: skip


class Appending(unittest.TestCase):
    def setUp(self) -> None:
        folder = self.enterContext(TemporaryDirectory())
        self.url = self.enterContext(serve(Path(folder) / "live.reel", "--append"))
        self.client = self.enterContext(Client(self.url))

    def test_rows_are_durable_and_read_back(self) -> None:
        with self.client.append() as rows:
            numbers = [rows.send(NAME, "trades", prints(10 * i, 10)) for i in range(1, 21)]
            watermark = rows.flush()
            self.assertGreater(watermark, 0)
            table = self.client.read(NAME, "trades", exact=True)
            self.assertEqual(table.num_rows, 200)
            self.assertEqual(table["price"][0].as_py(), Decimal("61701.20"))
            last = rows.send(NAME, "trades", prints(1000, 1))
            answers = list(rows)
            self.assertEqual([type(answer) for answer in answers], [Accepted, Durable])
            self.assertEqual(
                {answer.number for answer in answers if not isinstance(answer, NotAccepted)}, {last}
            )
        self.assertEqual((numbers, last), (list(range(1, 21)), 21))

    def test_what_is_refused_is_told_and_the_session_goes_on(self) -> None:
        with self.client.append() as rows:
            rows.send(NAME, "trades", prints(100, 2))
            late = rows.send(NAME, "trades", prints(5, 2))
            fine = rows.send(NAME, "trades", prints(200, 2))
            answers = list(rows)
            (refused,) = (answer for answer in answers if isinstance(answer, NotAccepted))
            self.assertEqual(refused.number, late)
            self.assertIsInstance(refused.error, InvalidArgument)
            self.assertIsInstance(answers[-1], Durable)
            self.assertEqual(answers[-1].number, fine)
            rows.send(NAME, "trades", prints(5, 2))
            with self.assertRaises(InvalidArgument):
                rows.flush()
        self.assertEqual(self.client.read(NAME, "trades").num_rows, 4)

    def test_more_requests_than_may_be_open(self) -> None:
        with self.client.append() as rows:
            for i in range(3000):
                rows.send(NAME, "trades", prints(i, 1))
        self.assertEqual(self.client.read(NAME, "trades").num_rows, 3000)

    def test_a_request_that_cannot_be_made_is_not_waited_for(self) -> None:
        async def append() -> None:
            async with AsyncClient(self.url) as client, client.append() as rows:
                with self.assertRaises(InvalidArgument):
                    await rows.send(NAME, "tradez", prints(100, 1))
                self.assertEqual(await rows.send(NAME, "trades", prints(100, 1)), 1)
                await asyncio.wait_for(rows.flush(), 60)

        asyncio.run(append())
        with self.client.append() as rows:
            with self.assertRaises(InvalidArgument):
                rows.send(NAME, "tradez", prints(200, 1))
            self.assertEqual(rows.send(NAME, "trades", prints(200, 1)), 1)
            answers = [next(rows), next(rows)]
            self.assertEqual([type(answer) for answer in answers], [Accepted, Durable])
            self.assertEqual(list(rows), [])
        self.assertEqual(self.client.read(NAME, "trades").num_rows, 2)

    def test_the_async_client_appends_too(self) -> None:
        async def append() -> None:
            async with AsyncClient(self.url) as client:
                async with client.append() as rows:
                    for i in range(1500):
                        await rows.send(NAME, "trades", prints(i, 1))
                    self.assertGreater(await rows.flush(), 0)
                    await rows.send(NAME, "trades", prints(2, 1))
                    answers = [answer async for answer in rows]
                    self.assertEqual([type(answer) for answer in answers], [NotAccepted])
                self.assertEqual((await client.read(NAME, "trades")).num_rows, 1500)

        asyncio.run(append())


class OnlyReading(ServerTest):
    def test_a_server_that_only_reads_says_so(self) -> None:
        with Client(self.url) as client, self.assertRaises(Unsupported), client.append() as rows:
            rows.send(NAME, "trades", prints(1, 1))
            rows.flush()


if __name__ == "__main__":
    unittest.main()
