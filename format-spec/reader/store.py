"""Chapters 2 and 6: a store folder, `CURRENT` and the manifest; the rows of every stream."""
from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from journal import Journal, Part
from model import (DAY_NS, DECIMAL, KINDS, MASK, Kind, Refused, Stream, aligned, day_text,
                   decode_stream, own_checksum_holds, refuse, require)
from segment import Segment


COMPACTED, REPAIRED, LOST = 1 << 29, 1 << 30, 1 << 31
"""6.3: flags of a segment that a footer does not have."""


class ManifestHeader(NamedTuple):
    """Table 6.1."""
    magic: bytes
    version_major: int
    version_minor: int
    header_crc: int
    store_id: int
    generation: int
    next_segment_id: int
    next_stream_id: int
    stream_count: int
    segment_count: int
    streams_crc: int
    segments_crc: int
    streams_len: int
    segments_offset: int
    file_len: int
    first_journal: int
    next_seq: int
    reserved: bytes


class SegmentEntry(NamedTuple):
    """Table 6.3."""
    segment_id: int
    stream_id: int
    day: int
    file_len: int
    rows: int
    messages: int
    ts_recv_first: int
    ts_recv_last: int
    ts_event_min: int
    ts_event_max: int
    content_hash: int
    file_crc: int
    flags: int
    replay_rows_max: int
    scales: bytes
    reserved: bytes

    @property
    def is_lost(self) -> bool:
        """Whether the file was damaged and is in quarantine."""
        return bool(self.flags & LOST)

    @property
    def path(self) -> str:
        return f"segments/{self.stream_id}/{day_text(self.day)}/{self.segment_id}.seg"


_MANIFEST = struct.Struct("<8sHHIQQQIIIIIIQQQQ32s")
_SEGMENT_ENTRY = struct.Struct("<QIiQQQqqqqQIIQ16s16s")


def scales_fit(scales: bytes, kind: Kind) -> bool:
    """Table 6.3: only decimal columns have a scale, of at most 18."""
    decimal = [column.type == DECIMAL for column in kind.columns] + [False] * 16
    return all(scale <= (18 if known else 0) for scale, known in zip(scales, decimal))


class Manifest:
    """6.1: a manifest that passed all its checks."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.header = self._read_header()
        self.streams = self._read_streams()
        self.segments = self._read_segments()

    def _read_header(self) -> ManifestHeader:
        data = self.data
        require(len(data) <= 67_108_864, "manifest is longer than a manifest may be", 0)
        require(len(data) >= 128, "file is shorter than a manifest", 0)
        header = ManifestHeader(*_MANIFEST.unpack_from(data))
        require(header.magic == b"TKM\x1a\n\xa9\r\n", "not a manifest (magic)", 0)
        if header.version_major > 1:
            raise Refused("manifest version is newer than this reader", 8, "unsupported")
        require(own_checksum_holds(data[:128], 12), "checksum of the manifest header", 12)
        require(header.version_major == 1, "manifest version 0 does not exist", 8)
        require(not any(header.reserved), "reserved bytes of the manifest header are not 0", 96)
        require(header.file_len == len(data), "length of the manifest", 72)
        require(header.stream_count <= 1_048_576, "stream count of the manifest", 44)
        start, end = header.segments_offset, 128 + header.streams_len
        require(start == aligned(end) and start + 128 * header.segment_count == len(data),
                "regions of the manifest are not in order", 64)
        require(zlib.crc32(data[128:end]) == header.streams_crc,
                "checksum of the manifest's streams", 128)
        require(zlib.crc32(data[start:]) == header.segments_crc,
                "checksum of the manifest's segments", start)
        require(not any(data[end:start]), "padding of the manifest is not 0", end)
        return header

    def _read_streams(self) -> dict[int, Stream]:
        """6.2."""
        header, at, streams = self.header, 128, {}
        end, previous = 128 + header.streams_len, -1
        wrong = "a stream of the manifest cannot be read"
        for _ in range(header.stream_count):
            require(at + 16 <= end, wrong, at)
            if self.data[at + 4] not in KINDS:
                raise Refused("stream of an unknown kind, newer than this reader", at + 4,
                              "unsupported")
            decoded = decode_stream(self.data[:end], at)
            if decoded is None:
                refuse(wrong, at)
            stream, after = decoded
            require(stream.stream_id > previous, wrong, at)
            require(stream.stream_id < header.next_stream_id,
                    "a stream of the manifest has a number that was never given", 40)
            streams[stream.stream_id] = stream
            at, previous = after, stream.stream_id
        require(at == end, "bytes after the last stream of the manifest", 44)
        return streams

    def _read_segments(self) -> list[SegmentEntry]:
        """6.3."""
        at = self.header.segments_offset
        entries = [SegmentEntry(*f) for f in _SEGMENT_ENTRY.iter_unpack(self.data[at:])]
        for i, entry in enumerate(entries):
            require(entry.segment_id < self.header.next_segment_id
                    and entry.stream_id in self.streams
                    and entry.file_len % 64 == 0 and entry.file_len <= 1 << 32
                    and entry.rows <= 67_108_864 and entry.ts_recv_first <= entry.ts_recv_last
                    and entry.ts_recv_first // DAY_NS == entry.ts_recv_last // DAY_NS == entry.day
                    and entry.flags & ~(7 | COMPACTED | REPAIRED | LOST) == 0
                    and not any(entry.reserved)
                    and scales_fit(entry.scales, KINDS[self.streams[entry.stream_id].kind]),
                    "a segment of the manifest is impossible", at + 128 * i)
        keys = [(e.stream_id, e.ts_recv_first, e.ts_recv_last, e.segment_id) for e in entries]
        require(keys == sorted(keys), "segments of the manifest are not in order", at)
        for i, (a, b) in enumerate(pairwise(entries), 1):
            require(a.stream_id != b.stream_id or a.ts_recv_last <= b.ts_recv_first,
                    "segments of a stream overlap in time", at + 128 * i)
        require(len({entry.segment_id for entry in entries}) == len(entries),
                "two segments of the manifest have the same number", at)
        require(len({stream[1:4] for stream in self.streams.values()}) == len(self.streams),
                "two streams of the manifest have the same name", at)
        return entries


def read_current(data: bytes) -> tuple[int, int]:
    """6.4: the generation that CURRENT names, and the checksum of its manifest."""
    line = re.fullmatch(rb"(manifest-(0|[1-9][0-9]*) ([0-9a-f]{8})) ([0-9a-f]{8})\n", data)
    require(line is not None and zlib.crc32(line[1]) == int(line[4], 16) and int(line[2]) <= MASK,
            "CURRENT does not name a manifest (text or checksum)", 0)
    assert line is not None
    return int(line[2]), int(line[3], 16)


class Store:
    """2: a store folder, seen through CURRENT and the manifest in force. Nothing is locked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for _ in range(8):
            current = (folder / "CURRENT").read_bytes()
            self._read(*read_current(current))
            # 6.5: the writer deletes journal files after a commit; if there was none, none is gone.
            if (folder / "CURRENT").read_bytes() == current:
                return
        raise OSError(f"{folder}: commits keep overtaking the reader")

    def _read(self, generation: int, crc: int) -> None:
        folder = self.folder
        try:
            data = (folder / f"manifest-{generation}").read_bytes()
        except FileNotFoundError:
            refuse("CURRENT names a manifest that is not there", 0)
        other = "manifest is not the one CURRENT names"
        require(zlib.crc32(data) == crc, other, 0)
        self.manifest = Manifest(data)
        header = self.manifest.header
        require(header.generation == generation, other, 0)
        files = {int(path.stem): path.read_bytes() for path in (folder / "journal").glob("*.jnl")
                 if re.fullmatch("0|[1-9][0-9]*", path.stem)}
        last_times = {entry.stream_id: entry.ts_recv_last for entry in self.manifest.segments}
        self.journal = Journal(
            {number: data for number, data in files.items() if number >= header.first_journal},
            header.first_journal, header.store_id, self.manifest.streams, last_times)

    @property
    def streams(self) -> list[Stream]:
        """The streams that manifest or journal name and that have rows."""
        named = sorted(self.journal.streams.values())
        return [stream for stream in named
                if self.segments_of(stream) or self.journal.durable(stream.stream_id)]

    def parts(self, stream: Stream) -> Iterator[Segment | Part]:
        """All rows of a stream: its segments, then what the journal has."""
        yield from (self.open(entry) for entry in self.segments_of(stream) if not entry.is_lost)
        yield from self.journal.durable(stream.stream_id)

    def strangers(self) -> list[str]:
        """2.4, 2.6: names in the folder that no store gives."""
        number, strangers, folders = "(0|[1-9][0-9]*)", [], [self.folder]
        files = rf"LOCK|(CURRENT|manifest-{number})(\.tmp)?|segments/.*/.*/{number}\.seg(\.tmp)?|" \
            rf"journal/{number}\.jnl(\.tmp)?"
        inner = rf"segments(/{number}(/[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})?)?"
        while folders:
            for path in folders.pop().iterdir():
                name, is_folder = path.relative_to(self.folder).as_posix(), path.is_dir()
                if is_folder and re.fullmatch(f"journal|{inner}", name):
                    folders.append(path)
                elif not re.fullmatch("quarantine" if is_folder else files, name):
                    strangers.append(name)
        return sorted(strangers)

    def segments_of(self, stream: Stream) -> list[SegmentEntry]:
        """The segments of a stream in the order of its rows."""
        return [e for e in self.manifest.segments if e.stream_id == stream.stream_id]

    def open(self, entry: SegmentEntry) -> Segment:
        """The segment of a manifest's entry, which it has to be (3.8)."""
        data = (self.folder / entry.path).read_bytes()
        require(len(data) == entry.file_len, "file length", len(data))
        segment = Segment(data, (self.manifest.header.store_id, entry.segment_id, entry.stream_id,
                                 entry.day, self.manifest.streams[entry.stream_id].kind))
        require(segment.footer.content_hash == entry.content_hash,
                "content hash differs from the manifest's", len(data) - 192 + 64)
        require(entry.scales == bytes(segment.scales).ljust(16, b"\0"),
                "scales differ from the manifest's", segment.footer.schema_offset)
        return segment

    def verify(self, entry: SegmentEntry) -> None:
        """Everything: the segment itself, the checksum of the file, and the rest of the entry."""
        segment = self.open(entry)
        footer = segment.footer
        segment.verify()
        require(zlib.crc32(segment.data) == entry.file_crc, "checksum of the whole file", 0)
        said = entry[4:10] + (entry.flags & 7, entry.replay_rows_max)
        require(said == footer[4:10] + (footer.flags, footer.replay_rows_max),
                "the manifest says other counts or times than the segment's footer",
                len(segment.data) - 192)
