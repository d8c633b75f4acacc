"""Chapter 3: a segment file, opened, read and verified."""
from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any, NamedTuple

from model import (BOOK, DAY_NS, DECIMAL, FLAGS, GAP, KINDS, LAST, NULL, RESET, SET, TEXT, Book,
                   Refused, Row, aligned, content_hash, own_checksum_holds, require, require_rules,
                   wrapped)
from pages import decode_checkpoint, decode_integers, decode_texts


class Header(NamedTuple):
    """Table 3.1."""
    magic: bytes
    version_major: int
    version_minor: int
    header_crc: int
    store_id: int
    segment_id: int
    stream_id: int
    day: int
    kind: int
    reserved: bytes


class Footer(NamedTuple):
    """Table 3.6."""
    magic: bytes
    version_major: int
    version_minor: int
    footer_crc: int
    rows: int
    messages: int
    ts_recv_first: int
    ts_recv_last: int
    ts_event_min: int
    ts_event_max: int
    content_hash: int
    schema_offset: int
    block_index_offset: int
    checkpoint_index_offset: int
    schema_len: int
    schema_crc: int
    block_count: int
    block_index_crc: int
    checkpoint_count: int
    checkpoint_index_crc: int
    replay_rows_max: int
    file_len: int
    store_id: int
    segment_id: int
    flags: int
    reserved: bytes


class BlockEntry(NamedTuple):
    """Table 3.4. The zones are smallest and largest of the first and second decimal column."""
    offset: int
    first_row: int
    first_message: int
    ts_recv_first: int
    ts_recv_last: int
    ts_event_min: int
    ts_event_max: int
    zone_0: int
    zone_1: int
    zone_2: int
    zone_3: int
    len: int
    rows: int
    messages: int
    directory_crc: int
    flags: int
    page_count: int
    reserved: bytes


class CheckpointEntry(NamedTuple):
    """Table 3.5."""
    row: int
    message: int
    ts_recv: int
    ts_event: int
    venue_seq: int
    offset: int
    len: int
    crc: int
    reserved: bytes


class PageEntry(NamedTuple):
    """Table 3.3."""
    offset: int
    len: int
    crc: int
    value_count: int
    column: int
    encoding: int
    reference: int
    plain_bytes: int
    reserved: bytes


_HEADER = struct.Struct("<8sHHIQQIiB23s")
_FOOTER = struct.Struct("<8sHHIQQqqqqQQQQIIIIIIQQQQI36s")
_BLOCK = struct.Struct("<QQQ8qIIIIII16s")
_CHECKPOINT = struct.Struct("<QQqqqQII8s")
_PAGE = struct.Struct("<IIIIBBBB12s")
_ORDER = "block index is not in order"
_CHECKPOINT_ORDER = "checkpoint index is not in order"


def _span(values: Iterable[int]) -> tuple[int, int]:
    """Smallest and largest value, nulls left out; null, null if there is none."""
    known = [value for value in values if value != NULL] or [NULL]
    return min(known), max(known)


class Segment:
    """A segment that passed all checks of opening (3.7). Blocks are read when asked for."""

    def __init__(self, data: bytes, named: tuple[int, ...] | None = None) -> None:
        """`named`: store, segment, stream, day and kind, where a manifest says them."""
        self.data = data
        self.header = self._read_header()
        require(named in (None, (self.header.store_id, *self.header[5:9])),
                "this is another segment than the manifest names", 16)
        self.kind = KINDS[self.header.kind]
        self.footer = self._read_footer()
        self.scales, self.digits = self._read_schema()
        self.blocks = self._read_block_index()
        self.checkpoints = self._read_checkpoint_index()

    def _read_header(self) -> Header:
        """3.1."""
        data = self.data
        require(len(data) >= 64, "file is shorter than a header", 0)
        header = Header(*_HEADER.unpack_from(data))
        require(header.magic == b"TKS\x1a\n\xa9\r\n", "not a segment file (magic)", 0)
        if header.version_major > 1:
            raise Refused("segment version is newer than this reader", 8, "unsupported")
        require(own_checksum_holds(data[:64], 12), "checksum of the segment header", 12)
        require(header.version_major == 1, "segment version 0 does not exist", 8)
        if header.kind not in KINDS:
            raise Refused("segment of an unknown kind, newer than this reader", 40, "unsupported")
        require(-106_752 <= header.day <= 106_751,
                "no time is of the day of the segment header", 36)
        require(not any(header.reserved), "reserved bytes of the segment header are not 0", 41)
        return header

    def _read_footer(self) -> Footer:
        """3.2."""
        data, header, at = self.data, self.header, len(self.data) - 192
        require(len(data) % 64 == 0 and len(data) >= 256,
                "file length is not that of a segment", len(data))
        footer = Footer(*_FOOTER.unpack_from(data, at))
        require(footer.magic == b"TKSfoot\n", "no footer at the end of the file (magic)", at)
        require(own_checksum_holds(data[at:], 12), "checksum of the footer", at + 12)
        require(footer.store_id == header.store_id and footer.segment_id == header.segment_id,
                "footer belongs to another segment", at + 136)
        require(footer.file_len == len(data), "file length", at + 128)
        require(footer.version_major == header.version_major,
                "footer has another version than the header", at + 8)
        require(not any(footer.reserved) and footer.flags <= 7,
                "reserved bytes of the footer are not 0", at + 152)
        require(1 <= footer.messages <= footer.rows <= 67_108_864,
                "row count of the footer", at + 16)
        require(footer.ts_recv_first <= footer.ts_recv_last,
                "receive times of the footer are reversed", at + 32)
        start, blocks, checkpoints = footer[11:14]
        require(start % 64 == 0 and 64 <= start <= at
                and aligned(start + footer.schema_len) == blocks
                and blocks + 128 * footer.block_count == checkpoints
                and checkpoints + 64 * footer.checkpoint_count == at
                and footer.block_count > 0, "regions of the segment are not in order", at + 72)
        return footer

    def _region_checksum(self, region: int, index: int, start: int, end: int) -> int:
        """1.6: the region checksum of bytes `start` to `end`."""
        prefix = struct.pack("<QQQQ", self.header.store_id, self.header.segment_id, region, index)
        return zlib.crc32(self.data[start:end], zlib.crc32(prefix))

    def _read_schema(self) -> tuple[list[int], list[int]]:
        """3.3: scale and digits of each column."""
        start, columns = self.footer.schema_offset, self.kind.columns
        end = self.footer.block_index_offset
        require(self._region_checksum(6, 0, start, end) == self.footer.schema_crc,
                "checksum of the schema", start)
        region = self.data[start:start + self.footer.schema_len]
        names = b"".join(name.encode() + b"\0" for column in columns for name in column.names)
        entries_end = 64 + 64 * len(columns)
        known = (len(region) == entries_end + len(names) and region[entries_end:] == names
                 and region[:64] == bytes((self.header.kind, len(columns))) + bytes(62))
        scales, digits, names_at = [], [], entries_end
        for c, column in enumerate(columns if known else ()):
            entry = region[64 + 64 * c:128 + 64 * c]
            names_len = sum(len(name) + 1 for name in column.names)
            scale, digit = entry[34], entry[35]
            known = known and entry == struct.pack(
                "<32sBBBBII20s", column.name.encode(), column.type,
                column.per_message + 2 * column.null, scale, digit, names_at, names_len, b"")
            require(max(scale, digit) <= (18 if column.type == DECIMAL else 0),
                    "scale of a column", start)
            scales.append(scale)
            digits.append(digit)
            names_at += names_len
        if not known:
            raise Refused("schema has other columns than this reader knows", start, "unsupported")
        return scales, digits

    def _read_block_index(self) -> list[BlockEntry]:
        """3.5."""
        at, end, footer = self.footer.block_index_offset, self.footer.checkpoint_index_offset, \
            self.footer
        require(self._region_checksum(4, 0, at, end) == footer.block_index_crc,
                "checksum of the block index", at)
        entries = [BlockEntry(*fields) for fields in _BLOCK.iter_unpack(self.data[at:end])]
        offset, rows, messages, time = 64, 0, 0, NULL
        pages = len(self.kind.columns) + self.kind.has_messages
        for entry in entries:
            require(entry.offset % 64 == 0
                    and (entry.offset >= offset if rows else entry.offset == 64)
                    and entry.offset + entry.len <= footer.schema_offset
                    and (entry.first_row, entry.first_message) == (rows, messages)
                    and time <= entry.ts_recv_first <= entry.ts_recv_last
                    and 1 <= entry.messages <= entry.rows <= 327_680
                    and (self.kind.has_messages or entry.messages == entry.rows)
                    and entry.page_count == pages and not any(entry.reserved), _ORDER, at)
            require(entry.flags <= 3, "block with unknown flags", at)
            offset, time = entry.offset + entry.len, entry.ts_recv_last
            rows, messages = rows + entry.rows, messages + entry.messages
        require((rows, messages) == (footer.rows, footer.messages),
                "blocks do not add up to the footer's rows", at)
        return entries

    def _read_checkpoint_index(self) -> list[CheckpointEntry]:
        """3.6."""
        at, footer = self.footer.checkpoint_index_offset, self.footer
        end = len(self.data) - 192
        require(self._region_checksum(5, 0, at, end) == footer.checkpoint_index_crc,
                "checksum of the checkpoint index", at)
        entries = [CheckpointEntry(*fields)
                   for fields in _CHECKPOINT.iter_unpack(self.data[at:end])]
        require((len(entries) > 0) == (self.header.kind == BOOK), _CHECKPOINT_ORDER, at)
        row = message = -1
        for entry in entries:
            require((row < entry.row < footer.rows and message < entry.message < footer.messages
                     if row >= 0 else entry.row == entry.message == 0)
                    and entry.offset % 64 == 0 and not any(entry.reserved)
                    and entry.offset + entry.len <= footer.schema_offset, _CHECKPOINT_ORDER, at)
            row, message = entry.row, entry.message
        return entries

    def pages(self, number: int) -> list[PageEntry]:
        """3.4: the directory of block `number`."""
        block, columns = self.blocks[number], self.kind.columns
        at, size = block.offset, aligned(32 * block.page_count)
        require(size <= block.len, "pages of a block are not in order", at)
        require(self._region_checksum(1, number, at, at + size) == block.directory_crc,
                "checksum of a block directory", at)
        entries = [PageEntry(*_PAGE.unpack_from(self.data, at + 32 * i))
                   for i in range(block.page_count)]
        expected = [(255, 4)] if self.kind.has_messages else []
        expected += [(c, column.plain_bytes) for c, column in enumerate(columns)]
        end = size
        for entry, (column, plain_bytes) in zip(entries, expected):
            require(entry.offset == end, "pages of a block are not in order", at)
            require((entry.column, entry.plain_bytes) == (column, plain_bytes)
                    and (entry.reference == 255 or (entry.reference, column) == (0, 1)
                         or (entry.reference, column, self.header.kind) == (3, 5, BOOK))
                    and not any(entry.reserved), "a page is not that of its column", at)
            end = aligned(end + entry.len)
        require(end == block.len, "pages of a block do not fill it", at)
        return entries

    def block(self, number: int) -> tuple[list[int], list[list[Any]]]:
        """3.4: the ends of the messages of block `number`, and its columns by row, as stored."""
        block, kind = self.blocks[number], self.kind
        columns: list[list[Any]] = []
        ends = list(range(1, block.rows + 1))
        for place, entry in enumerate(self.pages(number)):
            at = block.offset + entry.offset
            require(self._region_checksum(2, number * 256 + place, at, aligned(at + entry.len))
                    == entry.crc, "checksum of a page", at)
            is_ends = entry.column == 255
            per_message = is_ends or kind.columns[entry.column].per_message
            require(entry.value_count == (block.messages if per_message else block.rows),
                    "page has another value count than its block", at)
            page = self.data[at:at + entry.len]
            if not is_ends and kind.columns[entry.column].type == TEXT:
                columns.append(decode_texts(page, entry.encoding, entry.value_count, at))
                continue
            sides = columns[3] if entry.reference == 3 else None
            values = decode_integers(page, entry.encoding, entry.value_count, entry.plain_bytes, at,
                                     "unsupported", sides)
            if is_ends:
                require(all(a < b for a, b in zip([0] + values, values))
                        and values[-1] == block.rows, "message ends are not in order", at)
                ends = values
                continue
            if entry.reference == 0:
                values = [wrapped(value + time) for value, time in zip(values, columns[0])]
            names = kind.columns[entry.column].names
            require(not names or max(values) < len(names), "a code has no name", block.offset)
            columns.append(values)
        sizes = [end - start for start, end in zip([0] + ends, ends)]
        return ends, [[value for value, n in zip(values, sizes) for _ in range(n)]
                      if column.per_message else values
                      for column, values in zip(kind.columns, columns)]

    def stored_rows(self) -> Iterator[tuple[bool, Row]]:
        """All rows as stored, each with whether it is the last of its message."""
        for number in range(len(self.blocks)):
            ends, columns = self.block(number)
            last = set(ends)
            for i, row in enumerate(zip(*columns), 1):
                yield i in last, row

    def rows(self) -> Iterator[Row]:
        """All rows, with LAST set (0.4)."""
        types = [column.type for column in self.kind.columns]
        flags = types.index(FLAGS) if FLAGS in types else None
        for last, row in self.stored_rows():
            if last and flags is not None:
                row = (*row[:flags], int(row[flags]) | LAST, *row[flags + 1:])
            yield row

    def checkpoint(self, number: int) -> Book:
        """Chapter 5: checkpoint `number`."""
        entry = self.checkpoints[number]
        end = entry.offset + entry.len
        require(self._region_checksum(3, number, entry.offset, aligned(end)) == entry.crc,
                "checksum of a checkpoint", entry.offset)
        return decode_checkpoint(self.data[entry.offset:end], entry.offset)[0]

    def verify(self) -> None:
        """3.7, 5.3: reads everything and checks what opening does not."""
        regions = sorted([(block.offset, block.offset + block.len) for block in self.blocks]
                         + [(entry.offset, aligned(entry.offset + entry.len))
                            for entry in self.checkpoints])
        covered = 64
        for start, end in (*regions, (self.footer.schema_offset, 0)):
            require(start == covered, "bytes that belong to nothing", covered)
            covered = end
        self._verify_footer()
        rows = list(self.stored_rows())
        for block in self.blocks:
            part = rows[block.first_row:block.first_row + block.rows]
            require_rules(self.kind, part, block.offset)
            self._verify_block(block, [row for _, row in part])
        require(bool(self.footer.flags & 4) == (self.header.kind == BOOK and rows[0][1][2] == RESET),
                "flag of a reset at the start differs from the first row", len(self.data) - 192 + 152)
        require(content_hash(self.kind, self.scales, rows) == self.footer.content_hash,
                "content hash of all rows", len(self.data) - 192 + 64)
        if self.checkpoints:
            self._verify_checkpoints(rows)

    def _verify_footer(self) -> None:
        """3.2: the footer sums up the block index and the checkpoint index."""
        footer, blocks, at = self.footer, self.blocks, len(self.data) - 192
        require((footer.ts_recv_first, footer.ts_recv_last)
                == (blocks[0].ts_recv_first, blocks[-1].ts_recv_last),
                "receive times differ from the block index", at + 32)
        require((footer.ts_event_min, footer.ts_event_max)
                == _span(time for block in blocks for time in (block.ts_event_min,
                                                               block.ts_event_max)),
                "event times differ from the block index", at + 48)
        require(footer.flags & 3 == reduce(or_, (block.flags for block in blocks)),
                "flags differ from the block index", at + 152)
        places = [entry.row for entry in self.checkpoints] + [footer.rows]
        require(footer.replay_rows_max == max((b - a for a, b in pairwise(places)), default=0),
                "rows that a seek replays at most", at + 120)

    def _verify_block(self, block: BlockEntry, rows: list[Row]) -> None:
        """3.5: times, zones and flags of the block's entry are those of its rows."""
        recv = [row[0] for row in rows]
        require(recv == sorted(recv)
                and (recv[0], recv[-1]) == (block.ts_recv_first, block.ts_recv_last),
                "receive times differ from the block index or go back", block.offset)
        require({time // DAY_NS for time in recv} == {self.header.day},
                "receive times are not of the day of the header", block.offset)
        require(_span(row[1] for row in rows) == (block.ts_event_min, block.ts_event_max),
                "event times differ from the block index", block.offset)
        zones: list[int] = []
        book = self.header.kind == BOOK
        decimals = [c for c, column in enumerate(self.kind.columns) if column.type == DECIMAL]
        for c in decimals[:2]:
            zones.extend(_span(row[c] for row in rows if not book or row[2] == SET))
        actions = {row[2] for row in rows} if book else set()
        require((zones + [NULL] * 4)[:4] == list(block[7:11])
                and block.flags == (GAP in actions) + 2 * (RESET in actions),
                "zones or flags differ from the block index", block.offset)

    def _verify_checkpoints(self, rows: list[tuple[bool, Row]]) -> None:
        """Every checkpoint is the book that the rows before it make (5.3)."""
        book, message, due = self.checkpoint(0), 0, 1
        for i, (last, row) in enumerate(rows, 1):
            ts_recv, ts_event, action, side, _, price, qty, venue_seq = row
            book.apply(ts_recv, action, side, (price, self.scales[5]), (qty, self.scales[6]))
            message += last
            if due < len(self.checkpoints) and self.checkpoints[due].row == i:
                entry, stored = self.checkpoints[due], self.checkpoint(due)
                require(last and entry[1:5] == (message, ts_recv, ts_event, venue_seq),
                        "row or times differ from the rows before it", entry.offset)
                require(book == stored, "book differs from the one rebuilt from the rows before it",
                        entry.offset)
                due += 1
