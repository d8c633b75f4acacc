"""The reader against the vectors, against damage, and against the `tickreel` program.

`TICKREEL_BIN` names a built program; without it the comparison of rows is skipped, loudly. With it a
made-up market is imported and compared; `TICKREEL_STORE` may name another store to be compared.
"""
from __future__ import annotations

import itertools
import json
import os
import struct
import subprocess
import sys
import tempfile
import tomllib
import unittest
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

import tickreel_reader as reader
from journal import FRAME_KINDS, Journal
from model import (BOOK, CODE, DECIMAL, GAP, KINDS, NULL, RESET, SET, STATES, Book, Column, Refused,
                   Row, Stream, Value, aligned, day_text)
from pages import ENCODING_NAMES, decode_checkpoint, decode_integers, decode_texts
from segment import Segment
from store import Manifest, Store, read_current

VECTORS = Path(__file__).parent.parent / "vectors"
Record = dict[str, object]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.bin").read_bytes()


def documented(name: str) -> Record:
    """The text file of a vector."""
    return tomllib.loads((VECTORS / f"{name}.toml").read_text())


def vector_names(prefix: str, *, bad: bool = False) -> list[str]:
    names = sorted(path.stem for path in VECTORS.glob("*.toml"))
    return [name for name in names if name.startswith(prefix) and name.startswith("bad-") == bad]


def plain(number: int) -> str:
    return "null" if number == NULL else str(number)


def cell(column: Column, scale: int, value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if column.type == CODE:
        return column.names[value]
    return reader.decimal_text(value, scale) or "null" if column.type == DECIMAL else plain(value)


def book_record(book: Book) -> Record:
    record: Record = {"state": STATES[book.state]}
    if book.state == STATES.index("stale"):
        record |= {"stale_since": str(book.since), "missing": book.missing}
    for side, name in enumerate(("bids", "asks")):
        record[name] = [" ".join(str(reader.decimal_text(number, 18)) for number in level)
                        for level in book.levels(side)]
    return record


def segment_record(data: bytes) -> Record:
    """A segment in the words of the vectors' text files; also verifies it."""
    segment = Segment(data)
    segment.verify()
    header, footer, columns = segment.header, segment.footer, segment.kind.columns
    record: Record = {
        "form": "segment", "kind": segment.kind.name, "day": day_text(header.day),
        "columns": [column.name for column in columns], "scales": [str(n) for n in segment.scales],
        "digits": [str(n) for n in segment.digits], "content_hash": f"{footer.content_hash:016x}"}
    record |= {name: getattr(header, name) for name in ("store_id", "segment_id", "stream_id")}
    record |= {name: getattr(footer, name)
               for name in ("rows", "messages", "flags", "replay_rows_max")}
    record |= {name: plain(getattr(footer, name)) for name in (
        "ts_recv_first", "ts_recv_last", "ts_event_min", "ts_event_max")}
    record["blocks"] = [{
        "offset": block.offset, "len": block.len, "rows": block.rows, "messages": block.messages,
        "flags": block.flags, "zones": [plain(zone) for zone in block[7:11]],
        "pages": [("ends" if page.column == 255 else columns[page.column].name) + " "
                  + ENCODING_NAMES[page.encoding]
                  + {0: " + ts_recv", 3: " by side"}.get(page.reference, "")
                  for page in segment.pages(number)],
    } for number, block in enumerate(segment.blocks)]
    if segment.checkpoints:
        record["checkpoints"] = [{
            "offset": entry.offset, "len": entry.len, "row": entry.row, "message": entry.message,
            "ts_recv": plain(entry.ts_recv), "ts_event": plain(entry.ts_event),
            "venue_seq": plain(entry.venue_seq), **book_record(segment.checkpoint(number)),
        } for number, entry in enumerate(segment.checkpoints)]
    lasts = (last for last, _ in segment.stored_rows())
    rows = row_cells(columns, ((last, segment.scales, row)
                               for last, row in zip(lasts, segment.rows())))
    parts = {"all_rows": rows} if len(rows) <= 1000 else {
        "first_rows": rows[:5], "last_rows": rows[-5:]}
    for name, part in parts.items():
        record[name] = by_column(columns, part)
    return record


def row_cells(columns: Sequence[Column],
              rows: Iterable[tuple[bool, Sequence[int], Row]]) -> list[list[str]]:
    """Message and values of rows, each given as: whether it is the last of its message, scales,
    values."""
    message, cells = 0, []
    for last, scales, row in rows:
        cells.append([str(message), *map(cell, columns, scales, row)])
        message += last
    return cells


def by_column(columns: Sequence[Column], rows: list[list[str]]) -> Record:
    return dict(zip(["message", *[column.name for column in columns]], map(list, zip(*rows))))


def journal_of(data: bytes, like: Record) -> Journal:
    """The journal of a vector whose text file is, or is based on, `like`."""
    files, at = {}, 0
    for name in texts(like["files"]):
        number, length = map(int, name.split())
        files[number] = data[at:at + length]
        at += length
    streams = {}
    for name in texts(like["named"]):
        number_text, instrument, kind, rows = name.split()
        code = next(code for code, known in KINDS.items() if known.name == kind)
        streams[int(number_text)] = Stream(int(number_text), code, *instrument.split(":", 1),
                                           int(rows))
    return Journal(files, int(str(like["first_journal"])), int(str(like["store_id"])), streams)


def texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return value


def journal_record(data: bytes, like: Record) -> Record:
    """A journal in the words of the vectors' text files; also verifies it."""
    journal = journal_of(data, like)
    journal.verify()
    record: Record = {name: like[name] for name in ("files", "named", "first_journal", "store_id")}
    record |= {"form": "journal", "next_seq": journal.next_seq, "watermark": journal.watermark}
    record["frames"] = [
        f"{head.seq} {file} {offset} {head.len} {head.watermark} {FRAME_KINDS[head.kind]} "
        f"{head.stream_id}" for file, offset, head, _ in journal.frames]
    if journal.rest():
        record["torn"] = "{} {} {}".format(*journal.end, len(journal.rest()))
    record["streams"] = [
        stream_record(journal, stream) for number, stream in sorted(journal.streams.items())
        if number in journal.parts]
    return record


def stream_record(journal: Journal, stream: Stream) -> Record:
    parts = [part for _, part in journal.parts[stream.stream_id]]
    columns = KINDS[stream.kind].columns
    rows = row_cells(columns, ((last, part.scales, row) for part in parts
                               for (last, _), row in zip(part.stored, part.rows())))
    durable = sum(len(part.stored) for part in journal.durable(stream.stream_id))
    return {"stream": f"{stream.stream_id} {stream}", "first_row": stream.journal_rows,
            "rows": len(rows), "durable_rows": durable, **by_column(columns, rows)}


def manifest_record(data: bytes) -> Record:
    manifest = Manifest(data)
    header = manifest.header
    record: Record = {"form": "manifest", "streams": [
        f"{stream.stream_id} {stream} {stream.journal_rows}"
        for stream in manifest.streams.values()]}
    record |= {name: getattr(header, name) for name in (
        "store_id", "generation", "next_segment_id", "next_stream_id", "first_journal", "next_seq")}
    segments = [{
        **{name: getattr(entry, name) for name in (
            "segment_id", "stream_id", "file_len", "rows", "messages", "flags", "replay_rows_max")},
        **{name: plain(getattr(entry, name)) for name in (
            "ts_recv_first", "ts_recv_last", "ts_event_min", "ts_event_max")},
        "day": day_text(entry.day), "content_hash": f"{entry.content_hash:016x}",
        "file_crc": f"{entry.file_crc:08x}", "scales": [str(scale) for scale in entry.scales],
    } for entry in manifest.segments]
    return record | ({"segments": segments} if segments else {})


def record_of(data: bytes, like: Record) -> Record:
    """What the reader says of a vector whose text file is, or is based on, `like`."""
    form, encoding = str(like["form"]), str(like.get("encoding"))
    if form == "segment":
        return segment_record(data)
    if form == "manifest":
        return manifest_record(data)
    if form == "journal":
        return journal_record(data, like)
    if form == "current":
        generation, crc = read_current(data)
        return {"form": form, "generation": generation, "manifest_crc": f"{crc:08x}"}
    if form == "checkpoint":
        return {"form": form, **book_record(decode_checkpoint(data)[0])}
    count, code = int(str(like["count"])), ENCODING_NAMES.index(encoding)
    record: Record = {"form": form, "encoding": encoding, "count": count}
    if form == "text page":
        values = decode_texts(data, code, count, 0)
        return record | {"values_hex": [value.hex() for value in values]}
    width = int(str(like["plain_bytes"]))
    integers = decode_integers(data, code, count, width, 0)
    return record | {"plain_bytes": width, "values": [plain(value) for value in integers]}


class Vectors(unittest.TestCase):
    maxDiff = 2000

    def test_every_text_file_is_toml_and_stands_beside_its_bytes(self) -> None:
        paths = sorted(VECTORS.glob("*.toml"))
        self.assertGreaterEqual(len(paths), 100)
        self.assertEqual({path.stem for path in paths},
                         {path.stem for path in VECTORS.glob("*.bin")})
        for path in paths:
            with self.subTest(path.name):
                self.assertIn("form", tomllib.loads(path.read_text()))

    def test_every_good_vector_holds_what_its_text_says(self) -> None:
        names = vector_names("")
        self.assertGreaterEqual(len(names), 40)
        for name in names:
            with self.subTest(name):
                expected = documented(name)
                expected.pop("about")
                self.assertEqual(record_of(vector(name), expected), expected)

    def test_every_bad_vector_is_refused_with_its_fault_at_its_offset(self) -> None:
        names = vector_names("bad-", bad=True)
        self.assertGreaterEqual(len(names), 40)
        for name in names:
            with self.subTest(name):
                expected = documented(name)
                with self.assertRaises(Refused) as caught:
                    record_of(vector(name), expected)
                fault = caught.exception
                self.assertEqual(
                    (fault.kind, fault.fault, fault.offset, fault.file),
                    (expected["kind"], expected["fault"], expected["offset"], expected.get("file")))

    def test_what_no_reader_checks_is_as_the_text_defines_it(self) -> None:
        """Zones, flags, times of the footer and `replay_rows_max`, computed from the rows."""
        for name in vector_names("segment-"):
            with self.subTest(name):
                self.check_derived(Segment(vector(name)))

    def check_derived(self, segment: Segment) -> None:
        footer, columns = segment.footer, segment.kind.columns
        rows = [row for _, row in segment.stored_rows()]
        decimals = [c for c, column in enumerate(columns) if column.type == DECIMAL][:2]
        flags = 0
        for block in segment.blocks:
            part = rows[block.first_row:block.first_row + block.rows]
            zones = []
            for c in decimals:
                values = [row[c] for row in part if row[c] != NULL
                          and (segment.header.kind != BOOK or row[2] == SET)] or [NULL]
                zones += [min(values), max(values)]
            self.assertEqual((zones + [NULL] * 4)[:4], list(block[7:11]))
            expected = 0
            if segment.header.kind == BOOK:
                actions = {row[2] for row in part}
                expected = (GAP in actions) + 2 * (RESET in actions)
            self.assertEqual(block.flags, expected)
            flags |= expected
        if segment.header.kind == BOOK and rows[0][2] == RESET:
            flags |= 4
        self.assertEqual(footer.flags, flags)
        events = [row[1] for row in rows if row[1] != NULL] or [NULL]
        self.assertEqual(footer[4:10], (len(rows), sum(last for last, _ in segment.stored_rows()),
                                        rows[0][0], rows[-1][0], min(events), max(events)))
        places = [entry.row for entry in segment.checkpoints] + [len(rows)]
        distances = [b - a for a, b in itertools.pairwise(places)]
        self.assertEqual(footer.replay_rows_max, max(distances, default=0))
        self.assertEqual({row[0] // 86_400_000_000_000 for row in rows}, {segment.header.day})


class Damage(unittest.TestCase):
    def assert_refused(self, data: bytes, read: Callable[[bytes], object], what: str) -> None:
        try:
            read(data)
        except Refused:
            return
        self.fail(f"{what} was not noticed")

    def flips(self, name: str, read: Callable[[bytes], object]) -> None:
        data = bytearray(vector(name))
        read(bytes(data))
        for at in range(len(data)):
            for bit in range(8):
                data[at] ^= 1 << bit
                self.assert_refused(bytes(data), read, f"{name}: bit {bit} of byte {at}")
                data[at] ^= 1 << bit

    def cuts(self, name: str, read: Callable[[bytes], object]) -> None:
        data = vector(name)
        for length in range(len(data)):
            self.assert_refused(data[:length], read, f"{name}: the cut at {length}")

    def test_every_flipped_bit_of_a_segment_is_noticed(self) -> None:
        for name in ("segment-trades-one-row", "segment-status-one-row", "segment-book-one-row"):
            self.flips(name, lambda data: Segment(data).verify())

    def test_every_flipped_bit_of_a_manifest_and_of_current_is_noticed(self) -> None:
        self.flips("manifest-normal", Manifest)
        self.flips("current", read_current)

    def test_a_flipped_bit_of_a_journal_is_noticed_unless_nobody_relies_on_it(self) -> None:
        """Nobody relies on the last mark, nor on what is behind it."""
        for name in ("journal-small", "journal-carried"):
            text, data = documented(name), bytearray(vector(name))
            rows = journal_record(bytes(data), text)["streams"]
            first, length = map(int, texts(text["files"])[-1].split())
            *_, last = texts(text["frames"])
            end = len(data) - length + int(last.split()[2])
            for at in range(end):
                data[at] ^= 1 << at % 8
                self.assert_refused(bytes(data), lambda data: journal_of(data, text).verify(),
                                    f"{name}: byte {at}")
                data[at] ^= 1 << at % 8
            for at in range(end, len(data)):
                data[at] ^= 1 << at % 8
                record = journal_record(bytes(data), text)
                for whole, found in zip(rows, record["streams"]):  # type: ignore[call-overload]
                    self.assertEqual(found, whole | {"durable_rows": found["durable_rows"]})
                data[at] ^= 1 << at % 8

    def test_a_cut_journal_has_the_rows_before_the_cut_and_says_that_it_is_cut(self) -> None:
        text, data = documented("journal-small"), vector("journal-small")
        places = [tuple(map(int, place.split()[2:4])) for place in texts(text["frames"])]
        for length in range(len(data)):
            self.assert_refused(data[:length], lambda data: journal_of(data, text).verify(),
                                f"the cut at {length}")
        for length in range(64, len(data)):
            frames = journal_of(data[:length], text).frames
            whole = [at for at, size in places if at + size <= length]
            self.assertEqual([frame.offset for frame in frames], whole)
        text, data = documented("journal-two-files"), vector("journal-two-files")
        for length in range(1000, int(texts(text["files"])[0].split()[1])):
            journal = journal_of(data, {**text, "files": [f"1 {length}"]})
            self.assertEqual(journal.fault, None)
            self.assertEqual(journal.next_seq, 9 + (length >= 1040))

    def test_every_cut_file_is_refused(self) -> None:
        for name in vector_names("segment-"):
            self.cuts(name, lambda data: Segment(data).verify())
        for name in vector_names("manifest-"):
            self.cuts(name, Manifest)
        self.cuts("current", read_current)

    def test_a_damaged_page_is_refused_or_gives_as_many_values(self) -> None:
        """Pages alone, without the checksum that guards them in a file."""
        for name in vector_names("page-"):
            text, page = documented(name), vector(name)
            for at in range(0, len(page), 1 + len(page) // 200):
                for change in (1, 0x80, 0xFF):
                    damaged = page[:at] + bytes([page[at] ^ change]) + page[at + 1:]
                    try:
                        record = record_of(damaged, text)
                    except Refused as fault:
                        self.assertEqual(fault.offset, 0)
                    else:
                        values = record.get("values", record.get("values_hex"))
                        self.assertEqual(len(values), text["count"])  # type: ignore[arg-type]

    def test_a_manifest_that_current_does_not_name_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_store(folder, "segment-trades-one-row")
            (folder / "notes.txt").touch()
            self.assertEqual(Store(folder).strangers(), ["notes.txt"])
            (folder / "manifest-2").write_bytes(vector("manifest-normal"))
            with self.assertRaisesRegex(Refused, "manifest is not the one CURRENT names"):
                Store(folder)
            (folder / "manifest-2").unlink()
            with self.assertRaisesRegex(Refused, "CURRENT names a manifest that is not there"):
                Store(folder)

    def test_strangers_are_the_names_that_no_store_gives(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            store = make_store(Path(name), "segment-trades-one-row")
            day = str(Path(store.manifest.segments[0].path).parent)
            for folder in ("journal", "quarantine", "journal/8.jnl"):
                (store.folder / folder).mkdir()
            (store.folder / "quarantine" / "journal-1-64.torn").touch()
            (store.folder / "journal" / "8.jnl" / "9.jnl").touch()
            strangers = ["LOCK.tmp", "manifest-+4", "manifest-01", "notes.tmp", "segments/notes.txt",
                         "journal/8.jnl", "journal/01.jnl", "journal/1.seg",
                         f"{day}/+9.seg", f"{day}/007.seg", f"{day}/9.seg.tmp.tmp"]
            for known in ("CURRENT.tmp", "manifest-3.tmp", "manifest-1", "journal/6.jnl.tmp",
                          f"{day}/9.seg.tmp", f"{day}/9.seg", *strangers):
                (store.folder / known).touch()
            for folder in ("manifest-7", "segments/00", f"{day[:-10]}2024-8-8"):
                (store.folder / folder).mkdir()
                (store.folder / folder / "9.seg").touch()
                strangers.append(folder)
            self.assertEqual(store.strangers(), sorted(strangers))

    def test_a_segment_of_other_scales_than_the_manifest_says_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder), "segment-trades-one-row")
            entry = store.manifest.segments[0]
            with self.assertRaisesRegex(Refused, "scales differ from the manifest's, at byte"):
                store.open(entry._replace(scales=bytes(16)))

    def test_texts_and_manifests_have_their_limits(self) -> None:
        for length in (1 << 24, (1 << 24) + 1):
            page = struct.pack("<IIB7sq", 8, length, 1, b"", length) + bytes(length)
            if length == 1 << 24:
                self.assertEqual(decode_texts(page, 0, 1, 0), [bytes(length)])
                continue
            with self.assertRaisesRegex(Refused, "text value is longer than a text may be"):
                decode_texts(page, 0, 1, 0)
        with self.assertRaisesRegex(Refused, r"not a manifest \(magic\)"):
            Manifest(bytes(1 << 26))
        with self.assertRaisesRegex(Refused, "manifest is longer than a manifest may be"):
            Manifest(bytes((1 << 26) + 1))

    def test_a_segment_is_refused_in_the_place_of_another(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder), "segment-trades-one-row")
            entry = store.manifest.segments[0]
            store.verify(entry)
            (store.folder / entry.path).write_bytes(vector("segment-liquidations-one-row"))
            with self.assertRaises(Refused) as caught:
                store.open(entry)
            self.assertEqual((caught.exception.fault, caught.exception.offset),
                             ("this is another segment than the manifest names", 16))


class Rows(unittest.TestCase):
    def test_every_file_can_be_told_in_words(self) -> None:
        for form in ("segment", "manifest", "current"):
            for name in vector_names(form):
                self.assertNotEqual(list(reader.read_file(VECTORS / f"{name}.bin", False)), [])
        lines = list(reader.read_file(VECTORS / "journal-carried.bin", False))
        self.assertEqual(lines[1:], [
            "  frame 40 at 64: rows of stream 3, 200 bytes, durable up to 39",
            "  frame 41 at 264: rows of stream 3, 160 bytes, durable up to 39",
            "  frame 42 at 424: mark of stream 0, 40 bytes, durable up to 41",
            "  durable up to frame 41; 461 bytes after the frames are none"])

    def test_a_row_is_one_line_with_the_columns_of_its_kind(self) -> None:
        lines = list(reader.ndjson(Segment(vector("segment-book-one-row")),
                                   Stream(3, BOOK, "x", "y")))
        self.assertEqual(lines, [
            '{"exchange":"x","symbol":"y","ts_recv":"2024-08-08T12:00:00.000001000Z",'
            '"ts_recv_ns":1723118400000001000,"ts_event":"2024-08-08T11:59:59.998000000Z",'
            '"ts_event_ns":1723118399998000000,"action":"set","side":"bid","flags":["LAST"],'
            '"price":"-0.5","qty":"12","venue_seq":42}'])

    def test_nulls_and_text_are_written_as_they_are(self) -> None:
        line, = reader.ndjson(Segment(vector("segment-status-one-row")))
        self.assertEqual(json.loads(line), {
            "ts_recv": "2024-08-08T12:00:00.000001000Z", "ts_recv_ns": 1723118400000001000,
            "ts_event": None, "ts_event_ns": None, "what": "gap",
            "detail": "expected 7, found 10 → 3 missing"})

    def test_text_that_is_not_utf_8_is_written_in_hexadecimal(self) -> None:
        segment = Segment(vector("segment-raw-one-row"))
        line = reader.members(segment, (0, NULL, b"depth\x01", b"\xff{"))
        self.assertEqual(list(line)[4:], ["channel", "payload_hex"])
        self.assertEqual((line["channel"], line["payload_hex"]), ("depth\x01", "ff7b"))

    def test_decimals_are_the_shortest_exact_text(self) -> None:
        for mantissa, scale, text in ((0, 4, "0"), (-5, 1, "-0.5"), (1500, 3, "1.5"), (7, 0, "7"),
                                      (-120, 0, "-120"), (1, 18, "0.000000000000000001"),
                                      ((1 << 63) - 1, 18, "9.223372036854775807"),
                                      (NULL, 3, None)):
            self.assertEqual(reader.decimal_text(mantissa, scale), text)


def make_store(folder: Path, name: str | None, journal: str | None = None) -> Store:
    """A store of at most one segment, the vector `name`, whose stream is `vectors:x`; and of the
    files of the vector `journal`, if any. A stream it wants named is that of the segment."""
    text = documented(journal) if journal else {"first_journal": 1, "named": []}
    if journal:
        (folder / "journal").mkdir()
        for number, data in journal_of(vector(journal), text).files.items():
            (folder / "journal" / f"{number}.jnl").write_bytes(data)
    stream = entry = b""
    data = vector(name) if name else b""
    store_id = text.get("store_id")
    if name:
        header, footer = Segment(data).header, Segment(data).footer
        store_id = header.store_id
        journal_rows = [int(named.split()[3]) for named in texts(text["named"])] or [0]
        stream = struct.pack("<IBBBBQ", header.stream_id, header.kind, 7, 1, 0,
                             *journal_rows) + b"vectorsx"
        entry = struct.pack("<QIiQQQqqqqQIIQ16s16s", header.segment_id, header.stream_id,
                            header.day, len(data), *footer[4:11], zlib.crc32(data), footer.flags,
                            footer.replay_rows_max, bytes(Segment(data).scales), b"")
    count, start = int(name is not None), aligned(128 + len(stream))
    manifest = bytearray(struct.pack(
        "<8sHHIQQQIIIIIIQQQQ32s", b"TKM\x1a\n\xa9\r\n", 1, 0, 0, store_id, 2, 100, 100, count,
        count, zlib.crc32(stream), zlib.crc32(entry), len(stream), start, start + 128 * count,
        text["first_journal"], 1, b""))
    manifest[12:16] = zlib.crc32(manifest).to_bytes(4, "little")
    manifest += stream.ljust(start - 128, b"\0") + entry
    line = f"manifest-2 {zlib.crc32(manifest):08x}"
    (folder / "LOCK").touch()
    (folder / "manifest-2").write_bytes(manifest)
    (folder / "CURRENT").write_text(f"{line} {zlib.crc32(line.encode()):08x}\n")
    for segment in Store(folder).manifest.segments:
        path = folder / segment.path
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return Store(folder)


def write_market(folder: Path) -> list[Path]:
    """Tardis CSV files of every kind that has them, around midnight: more trades on a day than a
    block holds, the rest small."""
    random, second = Random(1), 1_000_000
    midnight = 1_723_161_600 * second
    common = "exchange,symbol,timestamp,local_timestamp"

    def times(count: int, step: int) -> Iterator[str]:
        now = midnight - count * step * 9 // 10
        for _ in range(count):
            now += random.randrange(step * 2)
            yield f"deribit,BTC-PERPETUAL,{now - random.randrange(5_000)},{now}"

    def price() -> str:
        return f"{61_000 + random.randrange(400) / 2}"

    def level(time: str, at: int) -> str:
        snapshot = str(at % 2_500 < 40).lower()
        side, amount = random.choice(("bid", "ask")), random.choice((0, 10, 250.5, 1_000))
        return f"{time},{snapshot},{side},{price()},{amount or int(at % 2_500 < 40)}"

    tables = {
        "book": ("is_snapshot,side,price,amount",
                 (level(time, at) for at, time in enumerate(times(12_000, 40_000)))),
        "trades": ("id,side,price,amount", (
            f"{time},{10_000_000 + at * 3},{random.choice(('buy', 'sell', 'unknown'))},{price()},"
            f"{random.randrange(1, 900) * 10}" for at, time in enumerate(times(75_000, 30_000)))),
        "liquidations": ("id,side,price,amount", (
            f"{time},{'' if at % 5 else f'L-{at}'},sell,{price()},10"
            for at, time in enumerate(times(60, second)))),
        "quotes": ("ask_amount,ask_price,bid_price,bid_amount", (
            f"{time},10,{price()}," + (f"{price()},30" if at % 7 else ",")
            for at, time in enumerate(times(3_000, 90_000)))),
        "ticker": ("funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,"
                   "index_price,mark_price", (
                       f"{time},{midnight},-0.0001,,{at * 10},{price()},,{price()}"
                       for at, time in enumerate(times(300, 400_000))))}
    paths = []
    for name, (columns, lines) in tables.items():
        path = folder / f"deribit_{name}_2024-08-08_BTC-PERPETUAL.csv"
        path.write_text("\n".join([f"{common},{columns}", *lines, ""]))
        paths.append(path)
    return paths


class Program(unittest.TestCase):
    """Row for row against `tickreel read --format ndjson`."""

    def program(self) -> str:
        program = os.environ.get("TICKREEL_BIN", "")
        if not os.access(program, os.X_OK):
            self.skip("TICKREEL_BIN names no built tickreel: rows are not compared with its rows")
        return program

    def skip(self, why: str) -> None:
        print(f"SKIPPED: {why}", file=sys.stderr, flush=True)
        self.skipTest(why)

    def compare(self, program: str, store: Store) -> int:
        """The number of rows compared."""
        rows = 0
        for stream in store.streams:
            command = [program, "read", "--store", str(store.folder),
                       f"{stream.exchange}:{stream.symbol}", "--kind", KINDS[stream.kind].name,
                       "--format", "ndjson"]
            ours: Iterator[str] = itertools.chain.from_iterable(
                reader.ndjson(part, stream) for part in store.parts(stream))
            with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as child:
                assert child.stdout is not None
                theirs = (line.removesuffix("\n") for line in child.stdout)
                for number, (a, b) in enumerate(itertools.zip_longest(theirs, ours)):
                    if a != b:
                        child.kill()
                        self.fail(f"{stream}, row {number}:\n  tickreel: {a}\n  reader:   {b}")
                    rows += 1
            self.assertEqual(child.returncode, 0, command)
        return rows

    def test_the_program_prints_the_same_rows_of_every_vector(self) -> None:
        program = self.program()
        for name in vector_names("segment-"):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                store = make_store(Path(folder), name)
                self.assertEqual(self.compare(program, store), store.manifest.segments[0].rows)

    def test_the_program_prints_the_same_rows_of_every_journal(self) -> None:
        """After a segment, where the journal goes on from one; up to what is durable."""
        program, names = self.program(), vector_names("journal-")
        self.assertGreaterEqual(len(names), 5)
        for name in names:
            text = documented(name)
            segment = "segment-book-one-row" if text["named"] else None
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                store = make_store(Path(folder), segment, name)
                streams: list[dict[str, int]] = text["streams"]  # type: ignore[assignment]
                rows = sum(stream["durable_rows"] for stream in streams)
                self.assertEqual(self.compare(program, store), rows + (segment is not None))
                self.assertEqual(reader.verify_store(store, lambda line: None), 0)
                subprocess.run([program, "verify", "--store", folder], check=True,
                               stdout=subprocess.DEVNULL)

    def test_the_program_imports_a_market_and_prints_the_same_rows(self) -> None:
        program = self.program()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            store = folder / "market.reel"
            subprocess.run(
                [program, "import", "--store", store, "--checkpoint-rows", "1000", "--strict",
                 *write_market(folder)], check=True, cwd=folder, capture_output=True)
            self.assertGreater(self.check_store(program, store), 90_000)
            segments = Store(store).manifest.segments
            self.assertEqual(len(segments), 10, "five kinds, two days")
            opened = [Store(store).open(entry) for entry in segments]
            self.assertGreater(max(len(segment.blocks) for segment in opened), 1)
            self.assertGreater(max(len(segment.checkpoints) for segment in opened), 5)
            self.damage_and_compare(program, store)

    def damage_and_compare(self, program: str, folder: Path) -> None:
        """With a segment of each stream in quarantine, the rows are still the same."""
        store, rows = Store(folder), sum(entry.rows for entry in Store(folder).manifest.segments)
        for stream in store.streams:
            entry = store.segments_of(stream)[0]
            path = folder / entry.path
            path.chmod(0o644)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            subprocess.run([program, "quarantine", "--store", folder, path], check=True,
                           capture_output=True)
        lost = [entry for entry in Store(folder).manifest.segments if entry.is_lost]
        self.assertEqual(len(lost), 4, "all but the book's")
        self.assertLess(self.check_store(program, folder), rows - sum(e.rows for e in lost))

    def test_the_program_prints_the_same_rows_of_the_store_that_is_named(self) -> None:
        folder = os.environ.get("TICKREEL_STORE")
        if not folder:
            self.skipTest("TICKREEL_STORE names no store")
        rows = self.check_store(self.program(), Path(folder))
        print(f"{rows} rows of {folder} are the same", file=sys.stderr)

    def check_store(self, program: str, folder: Path) -> int:
        """Compares rows and verifies checksums; the number of rows."""
        store = Store(folder)
        rows = self.compare(program, store)
        live = sum(len(part.stored) for stream in store.streams
                   for part in store.journal.durable(stream.stream_id))
        stored = [entry.rows for entry in store.manifest.segments if not entry.is_lost]
        self.assertEqual(rows, live + sum(stored))
        lines: list[str] = []
        self.assertEqual(reader.verify_store(store, lines.append), 0, lines)
        return rows


if __name__ == "__main__":
    unittest.main()
