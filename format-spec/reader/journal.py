"""Chapter 7: the files of a journal, their frames in sequence, and the rows of every stream."""
from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from model import (DECIMAL, FLAGS, KINDS, LAST, TEXT, Kind, Refused, Row, Stream, decode_stream,
                   own_checksum_holds, refuse, require, require_rules)


class Header(NamedTuple):
    """Table 7.1."""
    magic: bytes
    version_major: int
    version_minor: int
    header_crc: int
    store_id: int
    journal_id: int
    number: int
    first_seq: int
    file_len: int
    reserved: bytes


class Head(NamedTuple):
    """Table 7.2."""
    len: int
    crc: int
    journal_id: int
    seq: int
    watermark: int
    stream_id: int
    kind: int
    reserved: bytes


class Frame(NamedTuple):
    """7.2: a whole frame, and where it lies."""
    file: int
    offset: int
    head: Head
    payload: bytes


_HEADER = struct.Struct("<8sHHIQQQQQ8s")
_HEAD = struct.Struct("<IIQQQIB3s")
_ROWS = struct.Struct("<QII16s16s")
STREAM, ROWS, MARK = 1, 2, 3
FRAME_KINDS = {STREAM: "stream", ROWS: "rows", MARK: "mark"}
FRAME_BYTES_MAX = 167_772_160


def read_header(data: bytes) -> Header:
    """7.1."""
    require(data[:8] == b"TKJ\x1a\n\xa9\r\n", "this is no journal", 0)
    require(len(data) >= 64, "file is shorter than a journal header", 0)
    header = Header(*_HEADER.unpack_from(data))
    if header.version_major > 1:
        raise Refused("journal is of a newer major version", 8, "unsupported")
    require(own_checksum_holds(data[:64], 12), "checksum of the journal header", 12)
    require(header.version_major == 1 and not any(header.reserved),
            "version or reserved bytes of the journal header", 8)
    require(1 <= header.number <= 1 << 62 and 1 <= header.first_seq <= 1 << 62,
            "number or first frame of the journal is impossible", 32)
    return header


def whole_frame(data: bytes, at: int, header: Header) -> Head | None:
    """7.2: the head of the frame at `at`, if a whole one of this file is there."""
    if at + 40 > len(data):
        return None
    head = Head(*_HEAD.unpack_from(data, at))
    good = (40 <= head.len <= FRAME_BYTES_MAX and head.len % 8 == 0 and at + head.len <= len(data)
            and head.journal_id == header.journal_id and head.watermark < head.seq
            and head.kind in FRAME_KINDS and not any(head.reserved)
            and own_checksum_holds(data[at:at + head.len], 4))
    return head if good else None


def frames_of(data: bytes, header: Header, stop: int = 1 << 64) -> Iterator[Frame]:
    """7.4: the frames of one file; `stop` is the first sequence of the following one."""
    at, seq = 64, header.first_seq
    while (head := whole_frame(data, at, header)) is not None and head.seq == seq < stop:
        yield Frame(header.number, at, head, data[at + 40:at + head.len])
        at, seq = at + head.len, seq + 1


class Part:
    """7.3: rows of one frame, with the scales of this frame."""

    def __init__(self, payload: bytes, kind: Kind, at: int) -> None:
        """`at` is the offset that faults report."""
        self.kind, self._payload, self._next, self._at = kind, payload, 48, at
        require(len(payload) >= 48, "payload is shorter than the head of rows", at)
        self.first_row, count, messages, scales, digits = _ROWS.unpack_from(payload)
        ends = self._numbers("I", messages if kind.has_messages else 0)
        decimals = [column.type == DECIMAL for column in kind.columns] + [False] * 16
        require(all(max(widths) <= (18 if decimal else 0)
                    for *widths, decimal in zip(scales, digits, decimals)),
                "scale or digits of a column", at)
        columns = [self._column(column.type, messages if column.per_message else count)
                   for column in kind.columns]
        require(self._next == len(payload), "bytes after the last column of rows", at)
        if not kind.has_messages:
            ends = list(range(1, count + 1))
        sizes = [end - start for start, end in zip([0] + ends, ends)]
        require(all(size > 0 for size in sizes) and sum(sizes) == count,
                "columns and message ends of rows do not agree", at)
        require(count > 0 and len(ends) == messages and columns[0] == sorted(columns[0]),
                "rows of a frame are none, or not in order of time", at)
        self.scales = list(scales[:len(columns)])
        by_row = [[value for value, n in zip(values, sizes) for _ in range(n)]
                  if column.per_message else values
                  for column, values in zip(kind.columns, columns)]
        last = set(ends)
        self.stored: list[tuple[bool, Row]] = [(i in last, row)
                                               for i, row in enumerate(zip(*by_row), 1)]
        for column, values in zip(kind.columns, columns):
            require(not column.names or max(values) < len(column.names), "a code has no name", at)
        require_rules(kind, self.stored, at)

    def _bytes(self, length: int) -> bytes:
        """The next `length` bytes; what pads them to 8 is 0."""
        start, end = self._next, self._next + length
        padded = (end + 7) // 8 * 8
        require(padded <= len(self._payload), "payload is shorter than its rows", self._at)
        require(not any(self._payload[end:padded]), "padding of rows is not 0", self._at)
        self._next = padded
        return self._payload[start:end]

    def _numbers(self, code: str, count: int) -> list[int]:
        size = struct.calcsize(f"<{code}")
        return list(struct.unpack(f"<{count}{code}", self._bytes(count * size)))

    def _column(self, column_type: int, count: int) -> list[Any]:
        if column_type != TEXT:
            return self._numbers("q" if column_type <= DECIMAL else "B", count)
        ends = self._numbers("I", count)
        require(ends == sorted(ends), "ends of text are not in order", self._at)
        text = self._bytes(ends[-1] if ends else 0)
        return [text[start:end] for start, end in zip([0] + ends, ends)]

    def skip(self, rows: int) -> None:
        """7.6: leaves out the first rows."""
        require(rows == 0 or self.stored[rows - 1][0],
                "rows that are stored end inside a message", self._at)
        self.stored = self.stored[rows:]

    def rows(self) -> Iterator[Row]:
        """All rows, with LAST set (0.4)."""
        types = [column.type for column in self.kind.columns]
        flags = types.index(FLAGS) if FLAGS in types else None
        for last, row in self.stored:
            if last and flags is not None:
                row = (*row[:flags], int(row[flags]) | LAST, *row[flags + 1:])
            yield row


class Journal:
    """A journal, read up to its end or its first fault."""

    def __init__(self, files: Mapping[int, bytes], first: int, store_id: int,
                 streams: Mapping[int, Stream],
                 last_times: Mapping[int, int] | None = None) -> None:
        """`files` by number. Of the manifest: `first` file, store, streams, and when the last row
        of each stream in segments was received."""
        self.files, self.first, self.store_id = files, first, store_id
        self.streams = dict(streams)
        self.frames: list[Frame] = []
        self.parts: dict[int, list[tuple[int, Part]]] = {}
        """By stream: rows that are in no segment, with the sequence of their frame."""
        self.next_seq = self.watermark = 0
        self.end = (first, 0)
        """Number of the last file, and the offset after its last frame."""
        self.fault: Refused | None = None
        self._rows = {number: stream.journal_rows for number, stream in streams.items()}
        self._left_out: dict[int, int] = {}
        self._times = dict(last_times or {})
        try:
            for frame in self._sequence():
                try:
                    self._take(frame)
                except Refused as fault:
                    raise Refused(fault.fault, frame.offset, fault.kind, frame.file) from None
                self.frames.append(frame)
                self.watermark = max(self.watermark, frame.head.watermark)
        except Refused as fault:
            if fault.kind == "unsupported":
                raise
            self.fault = fault

    def _open(self, number: int) -> Header | None:
        """7.1: the header of file `number`; None if there is no such file."""
        if number not in self.files:
            return None
        try:
            header = read_header(self.files[number])
            require((header.store_id, header.number) == (self.store_id, number),
                    "this is another journal than its name and store say", 16)
        except Refused as fault:
            raise Refused(fault.fault, fault.offset, fault.kind, number) from None
        return header

    def _sequence(self) -> Iterator[Frame]:
        """7.4."""
        header, number = self._open(self.first), self.first
        if header is None:
            self._require_no_later(self.first)
            return
        self.next_seq = header.first_seq
        while header is not None:
            self.watermark = max(self.watermark, self.next_seq - 1)
            following = self._open(number + 1)
            stop = following.first_seq if following else 1 << 64
            self.end = (number, 64)
            for frame in frames_of(self.files[number], header, stop):
                self.end = (number, frame.offset + frame.head.len)
                self.next_seq += 1
                yield frame
            if following and stop != self.next_seq:
                raise Refused("journal lacks frames", self.end[1], file=number)
            header, number = following, number + 1

    def _require_no_later(self, number: int) -> None:
        if max(self.files, default=number) > number:
            raise Refused("a journal file is missing that later ones follow", 0, file=number)

    def _take(self, frame: Frame) -> None:
        """7.2, 7.6: what a frame says."""
        number, payload = frame.head.stream_id, frame.payload
        if frame.head.kind == STREAM:
            self._name(number, payload)
        if frame.head.kind != ROWS:
            return
        require(number in self.streams, "rows of a stream without a name", 0)
        part = Part(payload, KINDS[self.streams[number].kind], 0)
        stored = self._rows.get(number, 0)
        end = part.first_row + len(part.stored)
        if part.first_row > stored:
            self._left_out[number] = max(self._left_out.get(number, 0), end)
        if not part.first_row <= stored < end:
            return
        part.skip(stored - part.first_row)
        times = [row[0] for _, row in part.stored]
        require(times[0] >= self._times.get(number, times[0]),
                "rows of the journal go back in receive time", 0)
        self._rows[number], self._times[number] = end, times[-1]
        self.parts.setdefault(number, []).append((frame.head.seq, part))

    def _name(self, number: int, payload: bytes) -> None:
        """Table 7.3: a frame of kind stream."""
        wrong = "the stream it names cannot be read"
        if len(payload) > 4 and payload[4] not in KINDS:
            raise Refused("stream of an unknown kind, newer than this reader", 0, "unsupported")
        decoded = decode_stream(payload, 0)
        if decoded is None:
            refuse(wrong, 0)
        stream, after = decoded
        require(stream.stream_id == number < 1_048_576 and stream.journal_rows == 0
                and not any(payload[after:]), wrong, 0)
        self.streams.setdefault(number, stream)

    def durable(self, stream_id: int) -> list[Part]:
        """7.5: the rows that any reader may show."""
        return [part for seq, part in self.parts.get(stream_id, []) if seq <= self.watermark]

    def rest(self) -> bytes:
        """7.7: what follows the last frame, without the zeros at the end."""
        number, at = self.end
        return self.files[number][at:].rstrip(b"\0") if number in self.files else b""

    def verify(self) -> None:
        """7.8: everything, and that nothing that was acknowledged is missing at the end."""
        if self.fault:
            raise self.fault
        if any(end > self._rows.get(number, 0) for number, end in self._left_out.items()):
            last = self.frames[-1]
            raise Refused("the journal lacks rows", last.offset, file=last.file)
        number, at = self.end
        if number not in self.files:
            return
        self._require_no_later(number + 1)
        data = self.files[number]
        header = read_header(data)
        for start in range(at, len(data), 8):
            head = whole_frame(data, start, header)
            if head and head.watermark >= self.next_seq:
                raise Refused("acknowledged rows of the journal are damaged", at, file=number)
        if len(data) < header.file_len:
            raise Refused("journal file is shorter than when it was made", at, file=number)
