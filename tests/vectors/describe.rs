//! What a reader finds in a file, as text.

use std::fmt::Write;

use tickreel::book::State;
use tickreel::codec::Encoding;
use tickreel::event::{Batch, Kind, Value};
use tickreel::format::checkpoint::CheckpointBook;
use tickreel::format::manifest::{Contents, SegmentEntry};
use tickreel::format::segment::PageEntry;
use tickreel::quantity::{Day, Decimal, NULL};
use tickreel::segment::{ColumnMask, Segment};

/// Rows up to which all are written down; of more, the first and the last.
const ROWS_MAX: usize = 300;

/// Lines of `key = value`.
#[derive(Default)]
pub struct Toml(String);

impl Toml {
    pub fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{key} = {value}").unwrap();
    }

    pub fn text(&mut self, key: &str, value: &str) {
        writeln!(self.0, "{key} = {}", quoted(value)).unwrap();
    }

    pub fn texts(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().map(|value| quoted(&value)).collect();
        writeln!(self.0, "{key} = [{}]", values.join(", ")).unwrap();
    }

    pub fn table(&mut self, name: &str) {
        writeln!(self.0, "\n{name}").unwrap();
    }

    pub fn finish(self) -> String {
        self.0
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => write!(quoted, "\\u{:04x}", c as u32).unwrap(),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn null_or(value: i64, text: String) -> String {
    if value == NULL { "null".to_owned() } else { text }
}

pub fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Plain => "plain",
        Encoding::Constant => "constant",
        Encoding::Packed => "packed",
        Encoding::Delta => "delta",
        Encoding::Lz4 => "lz4",
        Encoding::TextIntegers => "text integers",
        Encoding::Bins => "bins",
        Encoding::DeltaBins => "delta bins",
    }
}

/// The description of a segment, and its rows.
pub fn segment(about: &str, bytes: &[u8], segment: &Segment) -> (String, Batch) {
    let footer = segment.footer();
    let mut toml = Toml::default();
    toml.text("form", "segment");
    toml.text("about", about);
    toml.text("kind", segment.kind().name());
    toml.number("store_id", segment.identity().store_id);
    toml.number("segment_id", segment.identity().segment_id);
    toml.number("stream_id", 3);
    toml.text("day", &Day(crate::segments::DAY).to_string());
    toml.number("rows", footer.rows);
    toml.number("messages", footer.messages);
    for (name, value) in [
        ("ts_recv_first", footer.ts_recv_first),
        ("ts_recv_last", footer.ts_recv_last),
        ("ts_event_min", footer.ts_event_min),
        ("ts_event_max", footer.ts_event_max),
    ] {
        toml.text(name, &null_or(value, value.to_string()));
    }
    toml.text("content_hash", &format!("{:016x}", footer.content_hash));
    toml.number("flags", footer.flags);
    toml.number("replay_rows_max", footer.replay_rows_max);
    let schema = segment.schema();
    toml.texts("columns", schema.columns.iter().map(|spec| spec.name.to_owned()));
    toml.texts("scales", segment.scales().iter().map(|(scale, _)| scale.to_string()));
    toml.texts("digits", segment.scales().iter().map(|(_, digits)| digits.to_string()));
    let mut all = Batch::new(segment.kind());
    for number in 0..segment.blocks().len() {
        let part =
            segment.read(number, 0..u64::MAX, ColumnMask::ALL, Batch::new(segment.kind())).unwrap();
        all.append(&part).unwrap();
    }
    blocks(&mut toml, bytes, segment);
    checkpoints(&mut toml, segment);
    let count = all.rows();
    if count <= ROWS_MAX {
        rows(&mut toml, "[all_rows]", &all, 0..count);
    } else {
        rows(&mut toml, "[first_rows]", &all, 0..5);
        rows(&mut toml, "[last_rows]", &all, count - 5..count);
    }
    (toml.finish(), all)
}

fn blocks(toml: &mut Toml, bytes: &[u8], segment: &Segment) {
    for block in segment.blocks() {
        toml.table("[[blocks]]");
        toml.number("offset", block.offset);
        toml.number("len", block.len);
        toml.number("rows", block.rows);
        toml.number("messages", block.messages);
        toml.number("flags", block.flags);
        toml.texts("zones", block.zones.map(|value| null_or(value, value.to_string())));
        let pages = bytes[block.offset as usize..][..block.page_count as usize * 32].chunks(32);
        toml.texts("pages", pages.map(|page| page_encoding(segment.kind(), page)));
    }
}

/// Column and encoding of a page, e.g. `ts_event packed + ts_recv`.
fn page_encoding(kind: Kind, entry: &[u8]) -> String {
    let page: PageEntry = bytemuck::pod_read_unaligned(entry);
    let name = kind.schema().columns.get(usize::from(page.column)).map_or("ends", |spec| spec.name);
    let relative = match page.reference {
        0 => " + ts_recv",
        3 => " by side",
        _ => "",
    };
    format!("{name} {}{relative}", encoding(Encoding::from_code(page.encoding).unwrap()))
}

fn checkpoints(toml: &mut Toml, segment: &Segment) {
    for index in 0..segment.checkpoints().len() {
        let (entry, stored) = segment.checkpoint(index).unwrap();
        toml.table("[[checkpoints]]");
        toml.number("offset", entry.offset);
        toml.number("len", entry.len);
        toml.number("row", entry.row);
        toml.number("message", entry.message);
        for (name, value) in [
            ("ts_recv", entry.ts_recv),
            ("ts_event", entry.ts_event),
            ("venue_seq", entry.venue_seq),
        ] {
            toml.text(name, &null_or(value, value.to_string()));
        }
        book(toml, &stored);
    }
}

/// State and levels, `price quantity`, best first.
pub fn book(toml: &mut Toml, book: &CheckpointBook) {
    match book.state {
        State::Empty => toml.text("state", "empty"),
        State::Live => toml.text("state", "live"),
        State::Stale { since, missing } => {
            toml.text("state", "stale");
            toml.text("stale_since", &since.0.to_string());
            toml.number("missing", missing);
        }
    }
    let decimal = |mantissa, scale| Decimal::new(mantissa, scale).unwrap().to_string();
    for (name, side) in [("bids", &book.bids), ("asks", &book.asks)] {
        let levels = side.prices.iter().zip(&side.qtys).map(|(&price, &qty)| {
            format!("{} {}", decimal(price, book.price_scale), decimal(qty, book.qty_scale))
        });
        toml.texts(name, levels);
    }
}

fn rows(toml: &mut Toml, title: &str, batch: &Batch, range: std::ops::Range<usize>) {
    toml.table(title);
    columns(toml, batch, range);
}

/// The number of each row's message, and all columns.
pub fn columns(toml: &mut Toml, batch: &Batch, range: std::ops::Range<usize>) {
    let messages = |row: usize| batch.message_of(row);
    toml.texts("message", range.clone().map(|row| messages(row).to_string()));
    for (at, spec) in batch.schema().columns.iter().enumerate() {
        toml.texts(spec.name, range.clone().map(|row| value(batch.value(messages(row), row, at))));
    }
}

fn value(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Time(ts) => ts.0.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Code(name) => name.to_owned(),
        Value::Flags(flags) => flags.to_string(),
        Value::Text(bytes) => std::str::from_utf8(bytes).unwrap().to_owned(),
    }
}

pub fn manifest(about: &str, contents: &Contents, segments: &[SegmentEntry]) -> String {
    let mut toml = Toml::default();
    toml.text("form", "manifest");
    toml.text("about", about);
    toml.number("store_id", contents.store_id);
    toml.number("generation", contents.generation);
    toml.number("next_segment_id", contents.next_segment_id);
    toml.number("next_stream_id", contents.next_stream_id);
    toml.number("first_journal", contents.first_journal);
    toml.number("next_seq", contents.next_seq);
    let streams = contents.streams.iter();
    toml.texts("streams", streams.map(|s| format!("{} {} {}", s.id, s.key, s.journal_rows)));
    for entry in segments {
        toml.table("[[segments]]");
        toml.number("segment_id", entry.segment_id);
        toml.number("stream_id", entry.stream_id);
        toml.text("day", &Day(entry.day).to_string());
        toml.number("file_len", entry.file_len);
        toml.number("rows", entry.rows);
        toml.number("messages", entry.messages);
        for (name, value) in [
            ("ts_recv_first", entry.ts_recv_first),
            ("ts_recv_last", entry.ts_recv_last),
            ("ts_event_min", entry.ts_event_min),
            ("ts_event_max", entry.ts_event_max),
        ] {
            toml.text(name, &null_or(value, value.to_string()));
        }
        toml.text("content_hash", &format!("{:016x}", entry.content_hash));
        toml.text("file_crc", &format!("{:08x}", entry.file_crc));
        toml.number("flags", entry.flags);
        toml.number("replay_rows_max", entry.replay_rows_max);
        toml.texts("scales", entry.scales.map(|scale| scale.to_string()));
    }
    toml.finish()
}
