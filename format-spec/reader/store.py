"""Chapters 2 and 6: a store folder, `CURRENT` and the manifest."""
from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from model import KINDS, MASK, Refused, aligned, day_text, own_checksum_holds, refuse, require
from segment import Segment


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
    reserved: bytes


class Stream(NamedTuple):
    """Table 6.2."""
    stream_id: int
    kind: int
    exchange: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol} {KINDS[self.kind].name}"


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
    def path(self) -> str:
        return f"segments/{self.stream_id}/{day_text(self.day)}/{self.segment_id}.seg"


_MANIFEST = struct.Struct("<8sHHIQQQIIIIIIQQ48s")
_SEGMENT_ENTRY = struct.Struct("<QIiQQQqqqqQIIQ16s16s")


class Manifest:
    """6.1: a manifest that passed all its checks."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.header = self._read_header()
        self.streams = self._read_streams()
        self.segments = self._read_segments()

    def _read_header(self) -> ManifestHeader:
        data = self.data
        require(len(data) >= 128, "file is shorter than a manifest", 0)
        header = ManifestHeader(*_MANIFEST.unpack_from(data))
        require(header.magic == b"TKM\x1a\n\xa9\r\n", "not a manifest (magic)", 0)
        if header.version_major > 1:
            raise Refused("manifest version is newer than this reader", 8, "unsupported")
        require(own_checksum_holds(data[:128], 12), "checksum of the manifest header", 12)
        require(header.version_major == 1, "manifest version 0 does not exist", 8)
        require(not any(header.reserved), "reserved bytes of the manifest header are not 0", 80)
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
        for _ in range(header.stream_count):
            try:
                require(at + 8 <= end, "", at)
                number, kind, exchange_len, symbol_len, reserved = struct.unpack_from(
                    "<IBBBB", self.data, at)
                middle, after = at + 8 + exchange_len, at + 8 + exchange_len + symbol_len
                exchange = self.data[at + 8:middle].decode()
                symbol = self.data[middle:after].decode()
                require(number > previous and kind in KINDS and reserved == 0 and after <= end
                        and re.fullmatch("[a-z0-9-]{1,32}", exchange) is not None
                        and 1 <= symbol_len <= 128
                        and re.search(r"[\x00-\x1f\x7f-\x9f\s]", symbol) is None, "", at)
            except (Refused, UnicodeDecodeError):
                refuse("a stream of the manifest cannot be read", at)
            require(number < header.next_stream_id,
                    "a stream of the manifest has a number that was never given", 40)
            streams[number] = Stream(number, kind, exchange, symbol)
            at, previous = after, number
        require(at == end, "bytes after the last stream of the manifest", 44)
        return streams

    def _read_segments(self) -> list[SegmentEntry]:
        """6.3."""
        at = self.header.segments_offset
        entries = [SegmentEntry(*f) for f in _SEGMENT_ENTRY.iter_unpack(self.data[at:])]
        seen: set[int] = set()
        for i, entry in enumerate(entries):
            require(entry.segment_id < self.header.next_segment_id
                    and entry.segment_id not in seen and entry.stream_id in self.streams
                    and entry.file_len % 64 == 0 and entry.file_len <= 1 << 32
                    and entry.rows <= 67_108_864 and entry.ts_recv_first <= entry.ts_recv_last
                    and max(entry.scales) <= 18 and not any(entry.reserved),
                    "a segment of the manifest is impossible", at + 128 * i)
            seen.add(entry.segment_id)
        keys = [(e.stream_id, e.ts_recv_first, e.ts_recv_last, e.segment_id) for e in entries]
        require(keys == sorted(keys), "segments of the manifest are not in order", at)
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
        generation, crc = read_current((folder / "CURRENT").read_bytes())
        try:
            data = (folder / f"manifest-{generation}").read_bytes()
        except FileNotFoundError:
            refuse("CURRENT names a manifest that is not there", 0)
        other = "manifest is not the one CURRENT names"
        require(zlib.crc32(data) == crc, other, 0)
        self.manifest = Manifest(data)
        require(self.manifest.header.generation == generation, other, 0)

    def strangers(self) -> list[str]:
        """2.6: names in the folder that are no part of a store."""
        known = (r"LOCK|CURRENT|manifest-\d+|segments(/\d+(/\d{4}-\d\d-\d\d(/\d+\.seg)?)?)?"
                 r"|(journal|quarantine)(/.*)?|.*\.tmp")
        names = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return sorted(name for name in names if not re.fullmatch(known, name))

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
        return segment

    def verify(self, entry: SegmentEntry) -> None:
        """Everything: the segment itself, the checksum of the file, and the rest of the entry."""
        segment = self.open(entry)
        footer = segment.footer
        segment.verify()
        require(zlib.crc32(segment.data) == entry.file_crc, "checksum of the whole file", 0)
        require(entry[4:10] + entry[12:14] == footer[4:10] + (footer.flags, footer.replay_rows_max)
                and entry.scales == bytes(segment.scales).ljust(16, b"\0"),
                "the manifest says other counts or times than the segment's footer",
                len(segment.data) - 192)
