"""Arrow Flight on the same port: `pyarrow` alone, and what reads Arrow after it."""

from __future__ import annotations

import json
import unittest

import polars as pl
import pyarrow.compute as pc
from support import BTC, DERIBIT, MIDNIGHT, ServerTest

from tickreel import Client


class Flights(ServerTest):
    def setUp(self) -> None:
        from pyarrow import flight

        self.flight = flight
        self.client = self.enterContext(flight.connect(self.url.replace("http", "grpc")))
        self.ours = self.enterContext(Client(self.url))

    def test_flights_are_the_streams(self) -> None:
        streams = self.ours.instruments()
        flights = list(self.client.list_flights())
        self.assertEqual(
            [tuple(part.decode() for part in f.descriptor.path) for f in flights],
            [(stream.instrument, stream.kind) for stream in streams],
        )
        self.assertEqual([f.total_records for f in flights], [stream.rows for stream in streams])
        self.assertEqual(len(list(self.client.list_flights(b"deribit:*"))), 5)

    def test_a_schema_and_its_rows(self) -> None:
        descriptor = self.flight.FlightDescriptor.for_path(BTC, "book")
        schema = self.client.get_schema(descriptor).schema
        info = self.client.get_flight_info(descriptor)
        table = self.client.do_get(info.endpoints[0].ticket).read_all()
        self.assertEqual(table.schema, schema)
        self.assertEqual(table, self.ours.read(BTC, "book", exact=True))

    def test_a_ticket_says_which_rows(self) -> None:
        wanted = {"instrument": BTC, "kind": "trades", "from": MIDNIGHT,
                  "to": "2026-01-06T00:01:00Z", "columns": ["ts_recv", "price", "qty"],
                  "where": ["side=buy", "qty>=0.1"], "decimals": "float64"}  # fmt: skip
        ticket = self.flight.Ticket(json.dumps(wanted))
        table = self.client.do_get(ticket).read_all()
        ours = self.ours.read(
            BTC, "trades", MIDNIGHT, "2026-01-06T00:01:00Z", ["ts_recv", "price", "qty"],
            where=["side=buy", "qty>=0.1"],
        )  # fmt: skip
        self.assertEqual(table, ours)
        self.assertGreater(table.num_rows, 10)
        self.assertGreaterEqual(pc.min(table["qty"]).as_py(), 0.1)

    def test_pandas_polars_and_duckdb_over_flight(self) -> None:
        import duckdb

        ticket = self.flight.Ticket(json.dumps({"instrument": DERIBIT, "kind": "trades"}))
        table = self.client.do_get(ticket).read_all()
        rows = self.ours.read(DERIBIT, "trades").num_rows
        self.assertEqual(len(self.client.do_get(ticket).read_pandas()), rows)
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        self.assertEqual(frame.height, rows)
        total = pc.sum(table["qty"]).as_py()
        self.assertEqual(frame["qty"].sum(), total)
        reader = self.client.do_get(ticket).to_reader()
        asked = duckdb.from_arrow(reader).aggregate("sum(qty), count(*)").fetchall()
        self.assertEqual(asked, [(total, rows)])

    def test_what_is_not_there(self) -> None:
        descriptor = self.flight.FlightDescriptor.for_path("deribit:NOPE", "book")
        with self.assertRaises(KeyError):
            self.client.get_schema(descriptor)


if __name__ == "__main__":
    unittest.main()
