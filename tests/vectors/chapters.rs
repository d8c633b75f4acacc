//! The text of `format-spec/` says what the structures and the vectors are.

use std::mem::offset_of;
use std::path::PathBuf;

use tickreel::event::{ColumnType, Kind};
use tickreel::format::{journal, manifest, segment};

/// Offset, size and name of a field.
type Field = (usize, usize, String);

fn chapter(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn chapters() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), chapter(&name))).collect()
}

/// The fields of the table under the line `Table <number>: ...`.
fn table(text: &str, number: &str) -> Vec<Field> {
    let title = format!("Table {number}: ");
    let lines = text.lines().skip_while(|line| !line.starts_with(&title)).skip(1);
    let rows = lines.skip_while(|line| !line.starts_with('|')).take_while(|l| l.starts_with('|'));
    let fields = rows.filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let offset = cells.next()?.parse().ok()?;
        let size = cells.next()?.parse().ok()?;
        Some((offset, size, cells.next()?.trim_matches('`').to_owned()))
    });
    fields.collect()
}

/// Fields follow one another from 0 and fill `size` bytes.
fn fills(fields: &[Field], number: &str, size: usize) {
    let mut next = 0;
    for (offset, size, name) in fields {
        assert_eq!(*offset, next, "table {number}, {name}");
        next += size;
    }
    assert_eq!(next, size, "bytes of table {number}");
}

macro_rules! same {
    ($text:expr, $number:literal, $structure:ty: $($field:ident)*) => {{
        let fields = table(&$text, $number);
        fills(&fields, $number, size_of::<$structure>());
        let found: Vec<_> = fields.iter().map(|field| (field.0, &field.2[..])).collect();
        let expected = [$((offset_of!($structure, $field), stringify!($field))),*];
        assert_eq!(found, expected, "table {}", $number);
    }};
}

#[test]
fn tables_of_the_segment_are_its_structures() {
    let text = chapter("03-segment.md");
    same!(text, "3.1", segment::Header: magic version_major version_minor header_crc store_id
        segment_id stream_id day kind reserved);
    same!(text, "3.2a", segment::SchemaHead: kind column_count reserved);
    same!(text, "3.2b", segment::ColumnEntry: name column_type flags scale digits names_offset
        names_len reserved);
    same!(text, "3.3", segment::PageEntry: offset len crc count column encoding reference
        plain_bytes reserved);
    same!(text, "3.4", segment::BlockEntry: offset first_row first_message ts_recv_first
        ts_recv_last ts_event_min ts_event_max zones len rows messages directory_crc flags
        page_count reserved);
    same!(text, "3.5", segment::CheckpointEntry: row message ts_recv ts_event venue_seq offset len
        crc reserved);
    same!(text, "3.6", segment::Footer: magic version_major version_minor footer_crc rows messages
        ts_recv_first ts_recv_last ts_event_min ts_event_max content_hash schema_offset
        block_index_offset checkpoint_index_offset schema_len schema_crc block_count
        block_index_crc checkpoint_count checkpoint_index_crc replay_rows_max file_len store_id
        segment_id flags reserved);
}

#[test]
fn tables_of_the_manifest_are_its_structures() {
    let text = chapter("06-manifest.md");
    same!(text, "6.1", manifest::Header: magic version_major version_minor header_crc store_id
        generation next_segment_id next_stream_id stream_count segment_count streams_crc
        segments_crc streams_len segments_offset file_len first_journal next_seq reserved);
    fills(&table(&text, "6.2"), "6.2", 16);
    same!(text, "6.3", manifest::SegmentEntry: segment_id stream_id day file_len rows messages
        ts_recv_first ts_recv_last ts_event_min ts_event_max content_hash file_crc flags
        replay_rows_max scales reserved);
}

#[test]
fn tables_of_the_journal_are_its_structures() {
    use journal::FrameKind::{Mark, Rows, Stream};
    let text = chapter("07-journal.md");
    same!(text, "7.1", journal::Header: magic version_major version_minor header_crc store_id
        journal_id number first_seq file_len reserved);
    same!(text, "7.2", journal::FrameHead: len crc journal_id seq watermark stream_id kind
        reserved);
    let kinds = [(Stream, "stream"), (Rows, "rows"), (Mark, "mark")];
    for (kind, name) in kinds {
        let row = format!("| {} | {name} |", kind as u8);
        assert!(text.lines().any(|line| line.starts_with(&row)), "table 7.3, {row}");
    }
    same!(text, "7.4", journal::RowsHead: first_row rows messages scales digits);
}

#[test]
fn tables_of_pages_and_checkpoints_have_their_sizes() {
    let text = chapter("04-encodings.md");
    fills(&table(&text, "4.1"), "4.1", 32);
    fills(&table(&text, "4.2"), "4.2", 24);
    fills(&table(&text, "4.3"), "4.3", 16);
    fills(&table(&text, "4.4"), "4.4", 8);
    fills(&table(&text, "4.5"), "4.5", 32);
    fills(&table(&text, "4.6"), "4.6", 18);
    fills(&table(&chapter("05-checkpoints.md"), "5.1"), "5.1", 64);
}

#[test]
fn columns_of_every_kind_are_those_of_the_text() {
    let text = chapter("00-model.md");
    for kind in Kind::ALL {
        let title = format!("### `{kind}` ({})", kind.code());
        let lines = text.lines().skip_while(|line| !line.starts_with(&title));
        let rows: Vec<Vec<&str>> = lines
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .map(|line| line.trim_matches('|').split('|').map(|c| c.trim().trim_matches('`')))
            .map(Iterator::collect)
            .collect();
        let columns = kind.schema().columns;
        assert_eq!(rows.len(), columns.len(), "{kind}");
        for (at, (row, spec)) in rows.iter().zip(columns).enumerate() {
            let ty = match spec.ty {
                ColumnType::Time => "time".to_owned(),
                ColumnType::Int => "int".to_owned(),
                ColumnType::Decimal => "decimal".to_owned(),
                ColumnType::Code(names) => format!("code: {}", names.join(", ")),
                ColumnType::Flags => "flags".to_owned(),
                ColumnType::Text => "text".to_owned(),
            };
            let per = if spec.per_message { "message" } else { "row" };
            let null = if spec.nullable { "yes" } else { "no" };
            let expected = [&at.to_string(), spec.name, &ty, per, null];
            assert_eq!(row[..5], expected, "{kind}");
        }
    }
}

/// Lines `offset  bytes  comment`, as offset and bytes; offset and bytes are hexadecimal.
fn hex_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(usize, Vec<u8>)> {
    let lines = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_hexdigit()));
    let parse = |line: &str| {
        let mut parts = line.split("  ");
        let offset = usize::from_str_radix(parts.next().unwrap(), 16).unwrap();
        let bytes = parts.next().unwrap().split(' ');
        (offset, bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect())
    };
    lines.map(parse).collect()
}

#[test]
fn worked_examples_are_bytes_of_their_vectors() {
    let mut examples = 0;
    for (name, text) in chapters() {
        for part in text.split("```hex ").skip(1) {
            let (block, _) = part.split_once("\n```").unwrap();
            let (vector, lines) = block.split_once('\n').unwrap();
            let bytes = crate::file(&format!("{vector}.bin"));
            for (at, expected) in hex_lines(lines.lines()) {
                assert_eq!(bytes[at..at + expected.len()], expected, "{name}: {vector} at {at:#x}");
            }
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples}");
}

#[test]
fn annotated_files_hold_every_byte_of_their_vector() {
    let mut count = 0;
    for entry in std::fs::read_dir(crate::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".hex") else { continue };
        let text = String::from_utf8(crate::file(&name)).unwrap();
        let mut whole = Vec::new();
        for (at, bytes) in hex_lines(text.lines()) {
            assert_eq!(at, whole.len(), "{name}");
            whole.extend(bytes);
        }
        assert!(whole == crate::file(&format!("{stem}.bin")), "{name}");
        count += 1;
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn every_fault_of_a_bad_vector_is_named_in_the_text() {
    let all: String = chapters().into_iter().map(|(_, text)| text + "\n").collect();
    let all = all.split_whitespace().collect::<Vec<_>>().join(" ");
    for vector in crate::bad::vectors() {
        let fault = vector.toml.lines().find_map(|line| line.strip_prefix("fault = "));
        let fault = fault.unwrap().trim_matches('"');
        assert!(all.contains(fault), "{}: {fault:?} is not in the text", vector.name);
    }
}
