"""Chunks written by hand, as the contract describes them."""

from __future__ import annotations

import struct
import unittest
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa

from tickreel import BookRow, Chunk, Kind, ProtocolError, TradeRow
from tickreel._proto import tickreel_pb2 as pb
from tickreel.columns import decode
from tickreel.frames import FrameReader, OpenedStream

NULL = -(2**63)


def entry(
    column: int, width: int, base: int, page: bytes, scale: int = 0, flags: int = 0
) -> tuple[bytes, bytes]:
    head = struct.pack("<BBBBBxxxqQ", column, scale, scale, width, flags, base, len(page))
    return head, page + b"\0" * (-len(page) % 8)


def whole(column: int, values: Sequence[int], scale: int = 0) -> tuple[bytes, bytes]:
    return entry(column, 8, 0, struct.pack(f"<{len(values)}q", *values), scale)


def chunk_bytes(kind: int, rows: int, messages: int, entries: list[tuple[bytes, bytes]]) -> bytes:
    head = struct.pack("<BBBxIIxxxx", 1, kind, len(entries), rows, messages)
    return head + b"".join(h for h, _ in entries) + b"".join(page for _, page in entries)


def book_bytes() -> bytes:
    """Two messages: a reset with a bid of 10.5, then an ask of 11 and a gap of 2."""
    return chunk_bytes(1, 4, 2, [
        entry(255, 0, 2, b""),
        entry(0, 1, 1000, bytes([0, 7])),
        entry(1, 1, 990, bytes([5, 255]), flags=1),
        entry(2, 1, 0, bytes([1, 0, 0, 2])),
        entry(3, 1, 0, bytes([0, 0, 1, 0])),
        entry(4, 1, 0, bytes([2, 0])),
        entry(5, 2, 0, struct.pack("<4H", 0, 105, 110, 0), scale=1),
        whole(6, [0, 3, 4, 200], scale=2),
        entry(7, 0, NULL, b""),
    ])  # fmt: skip


def trade_bytes(times: Sequence[int] = (5, 6)) -> bytes:
    count = len(times)
    ids = entry(5, 1, 0, bytes([3] * count) + b"a-1" * count)
    return chunk_bytes(2, count, count, [
        whole(0, times), entry(1, 0, 4, b""), entry(2, 0, 1, b""), entry(3, 0, -5, b"", scale=1),
        entry(4, 4, 0, struct.pack(f"<{count}I", *range(count)), scale=0), ids,
    ])  # fmt: skip


class Columns(unittest.TestCase):
    def book(self) -> Chunk:
        return decode(0, "x:Y", Kind.BOOK, book_bytes())

    def test_a_book(self) -> None:
        chunk = self.book()
        self.assertEqual((chunk.rows, chunk.messages, chunk.row_ends.tolist()), (4, 2, [2, 4]))
        self.assertEqual(chunk.ints("ts_recv").tolist(), [1000, 1000, 1007, 1007])
        self.assertEqual(chunk["action"].tolist(), ["reset", "set", "set", "gap"])
        self.assertEqual(chunk["price"].tolist(), [0, 10.5, 11, 0])
        self.assertEqual(chunk.exact("price")[1], Decimal("10.5"))
        self.assertTrue(np.isnat(chunk["ts_event"][2]))
        self.assertEqual(chunk["ts_event"][0], np.datetime64(995, "ns"))
        self.assertEqual(chunk.float_rows[1], BookRow("set", "bid", 10.5, 0.03))
        self.assertEqual(chunk.exact_rows[3], BookRow("gap", "bid", Decimal(0), Decimal(2)))

    def test_arrow(self) -> None:
        table = self.book().to_arrow(exact=True)
        self.assertEqual(table["price"].type, pa.decimal128(38, 1))
        self.assertEqual(table["price"].to_pylist(), [Decimal(x) for x in ("0", "10.5", "11", "0")])
        self.assertEqual(table["flags"].to_pylist(), [2, 3, 0, 1])
        self.assertEqual(table["venue_seq"].null_count, 4)
        self.assertEqual(table["ts_event"].null_count, 2)
        negative = decode(0, "x:Y", Kind.TRADES, trade_bytes()).to_arrow(exact=True)
        self.assertEqual(negative["price"].to_pylist(), [Decimal("-0.5")] * 2)
        self.assertEqual(negative["trade_id"].to_pylist(), ["a-1", "a-1"])

    def test_trades(self) -> None:
        chunk = decode(0, "x:Y", Kind.TRADES, trade_bytes())
        self.assertEqual(chunk.float_rows[1], TradeRow("sell", -0.5, 1.0, "a-1"))

    def test_any_cut_is_an_error(self) -> None:
        for kind, data in ((Kind.BOOK, book_bytes()), (Kind.TRADES, trade_bytes())):
            for end in range(len(data)):
                with self.assertRaises(ProtocolError):
                    decode(0, "x:Y", kind, data[:end])
            with self.assertRaises(ProtocolError):
                decode(0, "x:Y", Kind.QUOTES, data)

    def test_any_changed_bit_is_an_error_or_another_value(self) -> None:
        data = book_bytes()
        for place in range(len(data) * 8):
            bad = bytearray(data)
            bad[place // 8] ^= 1 << place % 8
            try:
                chunk = decode(0, "x:Y", Kind.BOOK, bytes(bad))
            except ProtocolError:
                continue
            self.assertEqual((chunk.rows, chunk.messages), (4, 2))


class Frames(unittest.TestCase):
    streams = (OpenedStream("x:Y", Kind.BOOK), OpenedStream("x:Y", Kind.TRADES))

    def frame(self, runs: list[tuple[int, int]], rows: int = 6) -> pb.ReplayFrame:
        chunks = [
            pb.ReplayChunk(stream=0, messages=2, rows=4, data=book_bytes()),
            pb.ReplayChunk(stream=1, messages=2, rows=2, data=trade_bytes()),
        ]
        streams, counts = zip(*runs, strict=True)
        return pb.ReplayFrame(chunks=chunks, run_streams=streams, run_messages=counts, rows=rows)

    def test_messages_come_in_the_total_order(self) -> None:
        frame = FrameReader(self.streams).read(self.frame([(1, 1), (0, 2), (1, 1)]))
        assert frame is not None
        found = [(m.kind, m.index, len(m.rows)) for m in frame.messages()]
        self.assertEqual(
            found, [("trades", 0, 1), ("book", 0, 2), ("book", 1, 2), ("trades", 1, 1)]
        )
        first = next(frame.messages(exact=True))
        self.assertEqual((first.ts_recv_ns, first.ts_event_ns), (5, 4))
        self.assertEqual(first.rows, [TradeRow("sell", Decimal("-0.5"), Decimal(0), "a-1")])
        self.assertEqual([m.snapshot for m in frame.messages()], [False, True, False, False])

    def test_a_run_goes_on_in_the_next_chunk(self) -> None:
        answer = self.frame([(1, 4), (0, 2)], rows=8)
        answer.chunks.append(pb.ReplayChunk(stream=1, messages=2, rows=2, data=trade_bytes((7, 8))))
        frame = FrameReader(self.streams).read(answer)
        assert frame is not None
        self.assertEqual([m.ts_recv_ns for m in frame.messages()][:4], [5, 6, 7, 8])

    def test_a_frame_in_parts(self) -> None:
        answer = self.frame([(1, 2), (0, 2)])
        book, trades = answer.chunks
        reader = FrameReader(self.streams)
        cut = [pb.ReplayChunk(stream=0, messages=2, rows=4, data=part)
               for part in (book.data[:40], book.data[40:41], book.data[41:])]  # fmt: skip
        self.assertIsNone(reader.read(pb.ReplayFrame(chunks=cut[:1], more=True)))
        self.assertIsNone(reader.read(pb.ReplayFrame(chunks=cut[1:2], more=True)))
        last = pb.ReplayFrame(
            chunks=[cut[2], trades], run_streams=[1, 0], run_messages=[2, 2], rows=6
        )
        frame = reader.read(last)
        assert frame is not None
        self.assertEqual(frame.rows, 6)

    def test_order_and_rows_must_agree(self) -> None:
        for runs, rows in (
            ([(1, 2), (0, 2)], 7),
            ([(1, 2)], 6),
            ([(1, 2), (0, 3)], 6),
            ([(1, 2), (0, 2), (2, 1)], 6),
        ):
            with self.assertRaises(ProtocolError, msg=str(runs)):
                FrameReader(self.streams).read(self.frame(runs, rows))
        stranger = self.frame([(1, 2), (0, 2)])
        stranger.chunks[0].stream = 9
        with self.assertRaises(ProtocolError):
            FrameReader(self.streams).read(stranger)


if __name__ == "__main__":
    unittest.main()
