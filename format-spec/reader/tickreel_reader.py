#!/usr/bin/env python3
"""A second reader of the tickreel store format, made from the text in `format-spec/` alone.

It reads every file of version 1 (segment, manifest, CURRENT, journal) and checks all that the text
lets a verifier check. It is there to prove the text, so it is plain before it is fast: a module for
each part of the text (`model`, `pages`, `segment`, `journal`, `store`), a class or function for each
table and section, named in its first line. Python 3.11, standard library only.

    tickreel_reader.py FILE                 the file in words, verified
    tickreel_reader.py FILE --rows          the rows of a segment as NDJSON
    tickreel_reader.py --store DIR          streams, segments and journal, all checksums verified
    tickreel_reader.py --store DIR --rows [INSTRUMENT] [--kind KIND]
                                            rows of segments, then those of the journal

The exit code is 0, or 1 after a fault (2 for bad usage). Faults are `Refused`: the fault in the
words of the text, the byte offset, and whether the file is corrupt or merely unsupported.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from journal import FRAME_KINDS, Part, frames_of, read_header
from pages import ENCODING_NAMES
from model import (CODE, DECIMAL, FLAG_NAMES, FLAGS, KINDS, NULL, STATES, TIME, Refused, Row,
                   Stream, day_text)
from segment import Segment
from store import Manifest, Store, read_current


def time_text(ns: int) -> str | None:
    """RFC 3339 in UTC with nine decimals; None for null."""
    if ns == NULL:
        return None
    second = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=ns // 10**9)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09}Z"


def decimal_text(mantissa: int, scale: int) -> str | None:
    """The shortest exact text of a decimal; None for null."""
    if mantissa == NULL:
        return None
    digits = f"{abs(mantissa):0{scale + 1}}"
    whole, part = digits[:len(digits) - scale], digits[len(digits) - scale:].rstrip("0")
    return ("-" if mantissa < 0 else "") + whole + ("." + part if part else "")


def members(part: Segment | Part, row: Row) -> dict[str, object]:
    """The members of a row as `tickreel read --format ndjson` writes them."""
    line: dict[str, object] = {}
    for column, scale, value in zip(part.kind.columns, part.scales, row):
        name = column.name
        if isinstance(value, bytes):
            try:
                line[name] = value.decode()
            except UnicodeDecodeError:
                line[f"{name}_hex"] = value.hex()
        elif column.type == TIME:
            line[name] = time_text(value)
            line[f"{name}_ns"] = None if value == NULL else value
        elif column.type == DECIMAL:
            line[name] = decimal_text(value, scale)
        elif column.type == CODE:
            line[name] = column.names[value]
        elif column.type == FLAGS:
            line[name] = [flag for bit, flag in FLAG_NAMES.items() if value & bit]
        else:
            line[name] = None if value == NULL else value
    return line


def ndjson(part: Segment | Part, stream: Stream | None = None) -> Iterator[str]:
    """One line of JSON per row; exchange and symbol come first where the stream is known."""
    first = {"exchange": stream.exchange, "symbol": stream.symbol} if stream else {}
    for row in part.rows():
        yield json.dumps({**first, **members(part, row)}, ensure_ascii=False,
                         separators=(",", ":"))


def describe_segment(segment: Segment) -> Iterator[str]:
    header, footer, kind = segment.header, segment.footer, segment.kind
    yield (f"segment {header.segment_id} of store {header.store_id:#018x}, stream "
           f"{header.stream_id}, {kind.name}, {day_text(header.day)}, version "
           f"{header.version_major}.{header.version_minor}")
    yield (f"{footer.rows} rows, {footer.messages} messages, {time_text(footer.ts_recv_first)} to "
           f"{time_text(footer.ts_recv_last)}, hash {footer.content_hash:016x}")
    for column, scale, digits in zip(kind.columns, segment.scales, segment.digits):
        yield (f"  column {column.name}" + (", per message" if column.per_message else "")
               + (f", scale {scale}, digits {digits}" if column.type == DECIMAL else ""))
    for number, block in enumerate(segment.blocks):
        yield (f"  block {number} at {block.offset}: {block.len} bytes, {block.rows} rows, "
               f"{block.messages} messages, from {time_text(block.ts_recv_first)}")
        for page in segment.pages(number):
            name = "ends" if page.column == 255 else kind.columns[page.column].name
            yield (f"    {name}: {page.len} bytes, {ENCODING_NAMES[page.encoding]}"
                   + {0: " + ts_recv", 3: " by side"}.get(page.reference, ""))
    for number, entry in enumerate(segment.checkpoints):
        book = segment.checkpoint(number)
        yield (f"  checkpoint {number} at {entry.offset}: before row {entry.row}, "
               f"{STATES[book.state]}, {len(book.sides[0])} bids, {len(book.sides[1])} asks")


def describe_manifest(manifest: Manifest) -> Iterator[str]:
    header = manifest.header
    yield (f"manifest, generation {header.generation} of store {header.store_id:#018x}: "
           f"{len(manifest.streams)} streams, {len(manifest.segments)} segments")
    for stream in manifest.streams.values():
        yield (f"stream {stream.stream_id}: {stream}, {stream.journal_rows} rows came through the "
               "journal")
        for entry in manifest.segments:
            if entry.stream_id == stream.stream_id:
                yield (f"  {entry.path}: {entry.rows} rows, {entry.file_len} bytes, "
                       f"{time_text(entry.ts_recv_first)} to {time_text(entry.ts_recv_last)}")


def describe_journal(data: bytes) -> Iterator[str]:
    """One file alone: which frames count, and what the rest is, only all files can say."""
    header = read_header(data)
    yield (f"journal {header.number} of store {header.store_id:#018x}, id "
           f"{header.journal_id:#018x}, frames from {header.first_seq}")
    end, watermark = 64, header.first_seq - 1
    for frame in frames_of(data, header):
        head = frame.head
        end, watermark = frame.offset + head.len, max(watermark, head.watermark)
        yield (f"  frame {head.seq} at {frame.offset}: {FRAME_KINDS[head.kind]} of stream "
               f"{head.stream_id}, {head.len} bytes, durable up to {head.watermark}")
    rest = data[end:].rstrip(b"\0")
    yield f"  durable up to frame {watermark}; {len(rest)} bytes after the frames are none"


def read_file(path: Path, rows: bool) -> Iterator[str]:
    """The file in words after it was verified, or the rows of a segment."""
    data = path.read_bytes()
    if data.startswith(b"manifest-"):
        generation, crc = read_current(data)
        yield f"CURRENT: generation {generation}, checksum of the manifest {crc:08x}"
    elif data.startswith(b"TKM"):
        yield from describe_manifest(Manifest(data))
    elif data.startswith(b"TKJ"):
        yield from describe_journal(data)
    else:
        segment = Segment(data)
        if rows:
            yield from ndjson(segment)
        else:
            segment.verify()
            yield from describe_segment(segment)


def verify_store(store: Store, report: Callable[[str], None]) -> int:
    """Reports every stream and segment, and the journal; the number of faults."""
    faults = 0
    for stream in store.streams:
        report(f"stream {stream.stream_id}: {stream}")
        for entry in store.segments_of(stream):
            verdict = "lost, its file is in quarantine" if entry.is_lost else "good"
            try:
                if not entry.is_lost:
                    store.verify(entry)
            except (Refused, OSError) as fault:
                verdict, faults = f"FAULT: {fault}", faults + 1
            report(f"  {entry.path}: {entry.rows} rows, {entry.file_len} bytes, {verdict}")
        rows = sum(len(part.stored) for part in store.journal.durable(stream.stream_id))
        if rows:
            report(f"  journal: {rows} rows")
    verdict, journal = "good", store.journal
    try:
        journal.verify()
    except Refused as fault:
        verdict, faults = f"FAULT: {fault}", faults + 1
    report(f"journal: {len(journal.frames)} frames, durable up to {journal.watermark}, {verdict}")
    for name in store.strangers():
        report(f"stranger: {name}")
    report(f"generation {store.manifest.header.generation}: {len(store.manifest.segments)} "
           f"segments, {faults} faults")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads files of the tickreel store format.")
    parser.add_argument("what", nargs="?", help="a file, or with --store an instrument")
    parser.add_argument("--store", type=Path, help="a store folder instead of a file")
    parser.add_argument("--rows", action="store_true", help="rows as NDJSON")
    parser.add_argument("--kind", help="with --store: only this kind")
    options = parser.parse_args()
    if not options.store and not options.what:
        parser.error("a file or --store is needed")
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        if not options.store:
            for line in read_file(Path(options.what), options.rows):
                print(line)
            return 0
        store = Store(options.store)
        if not options.rows:
            return min(verify_store(store, print), 1)
        for stream in store.streams:
            if options.what in (None, f"{stream.exchange}:{stream.symbol}") \
                    and options.kind in (None, KINDS[stream.kind].name):
                for part in store.parts(stream):
                    for line in ndjson(part, stream):
                        print(line)
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Refused, OSError) as fault:
        print(f"tickreel_reader: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
