//! `tickreel inspect`: any file of a store, in words.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::screen;
use crate::codec::Encoding;
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::event::{Kind, Schema};
use crate::format::journal::FrameKind;
use crate::format::manifest::{decode, decode_current, segment_slice};
use crate::format::segment::{
    ENDS_COLUMN, FLAG_GAPS, FLAG_RESETS, FLAG_STARTS_WITH_RESET, NO_REFERENCE,
};
use crate::journal::JournalFile;
use crate::quantity::{Day, NULL, TsNs};
use crate::segment::Segment;

/// Print any file of a store in words: a segment, a manifest, a journal or CURRENT.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also list every block, page and checkpoint of a segment, or every segment of a manifest
    #[arg(short, long)]
    all: bool,
    /// A file of a store
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Lines of a long list that are printed without `--all`.
const LINES_SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// The file cannot be read, is no file of a store, or is damaged.
pub fn run(args: &Args) -> Result<()> {
    let path = args.file.as_path();
    if path.is_dir() {
        let text = "this is a folder; name a file in it, or use: tickreel ls --store DIR";
        return Err(Error::invalid(text).at_path(path));
    }
    let mut out = screen::output();
    if let Some(lines) = journal_lines(path, args.all)? {
        return print(&mut out, &lines);
    }
    let bytes = OsDisk.map(path).map_err(|e| Error::io(e, "open file", path))?;
    let head = (*bytes).as_ref();
    let lines = if head.starts_with(b"TKS") {
        segment_lines(&Segment::open(bytes, path, None)?, args.all)?
    } else if head.starts_with(b"TKM") {
        manifest_lines(head, path, args.all)?
    } else if head.starts_with(b"manifest-") {
        let (generation, crc) = decode_current(head).map_err(|f| Error::from(f).at_path(path))?;
        vec![format!("CURRENT: generation {generation}, checksum of its manifest {crc:#010x}")]
    } else {
        let text = "this is no file of a tickreel store: expected a segment, a manifest, a journal \
                    or CURRENT";
        return Err(Error::invalid(text).at_path(path));
    };
    print(&mut out, &lines)
}

fn print(out: &mut impl Write, lines: &[String]) -> Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(screen::write_error)?;
    out.flush().map_err(screen::write_error)
}

/// A journal file, which may still be written and so is never mapped; `None` if it is none.
fn journal_lines(path: &Path, all: bool) -> Result<Option<Vec<String>>> {
    let Some(mut file) = JournalFile::open(&OsDisk, path)? else { return Ok(None) };
    let header = *file.header();
    let mut lines = vec![format!(
        "journal {} of store {:016x}, id {:016x}, frames from {}",
        header.number, header.store_id, header.journal_id, header.first_seq
    )];
    let (made, left) = (header.file_len, file.len_bytes());
    if left < made {
        let [made, left] = [made, left].map(screen::count);
        lines.push(format!("  the file is cut short: {left} bytes are left of {made}"));
    }
    let (mut frames, mut watermark) = (0, header.first_seq.saturating_sub(1));
    let mut shown_lines = Vec::new();
    while let Some((offset, frame)) = file.next_frame()? {
        frames += 1;
        watermark = watermark.max(frame.head.watermark);
        if all || shown_lines.len() < LINES_SHOWN {
            shown_lines.push(format!(
                "  frame {}: byte {offset}, {}, {} bytes, durable up to {}",
                frame.head.seq,
                match frame.kind {
                    FrameKind::Stream => format!("names stream {}", frame.head.stream_id),
                    FrameKind::Rows => format!("rows of stream {}", frame.head.stream_id),
                    FrameKind::Mark => "mark".to_owned(),
                },
                frame.head.len,
                frame.head.watermark
            ));
        }
    }
    let rest = file.rest()?.len();
    lines.push(format!(
        "  {} frames up to byte {}, durable up to frame {watermark}; {rest} bytes after them are \
         no frame",
        screen::count(frames),
        file.offset()
    ));
    lines.append(&mut shown_lines);
    lines.extend(rest_line(frames as usize, all));
    Ok(Some(lines))
}

fn time_or_none(ns: i64) -> String {
    if ns == NULL { "none".to_owned() } else { TsNs(ns).to_string() }
}

fn flag_names(flags: u32) -> String {
    let names = [
        (FLAG_GAPS, "gaps"),
        (FLAG_RESETS, "resets"),
        (FLAG_STARTS_WITH_RESET, "starts with a reset"),
    ];
    let set: Vec<_> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(", ") }
}

fn shown<T>(items: &[T], all: bool) -> &[T] {
    if all { items } else { items.get(..LINES_SHOWN).unwrap_or(items) }
}

fn rest_line(count: usize, all: bool) -> Option<String> {
    let more = count.saturating_sub(LINES_SHOWN);
    (!all && more > 0).then(|| format!("  ... and {more} more: see --all"))
}

fn segment_lines(segment: &Segment, all: bool) -> Result<Vec<String>> {
    let footer = segment.footer();
    let mut lines = vec![
        format!(
            "segment {} of store {:016x}: {}, version {}.{}, {}",
            footer.segment_id,
            footer.store_id,
            segment.kind(),
            footer.version_major,
            footer.version_minor,
            screen::bytes(footer.file_len)
        ),
        format!(
            "  rows          {} in {} messages, content hash {:016x}",
            screen::count(footer.rows),
            screen::count(footer.messages),
            footer.content_hash
        ),
        format!("  ts_recv       {} .. {}", TsNs(footer.ts_recv_first), TsNs(footer.ts_recv_last)),
        format!(
            "  ts_event      {} .. {}",
            time_or_none(footer.ts_event_min),
            time_or_none(footer.ts_event_max)
        ),
        format!("  flags         {}", flag_names(footer.flags)),
    ];
    if segment.kind() == Kind::Book {
        lines.push(format!(
            "  checkpoints   {}; a seek replays at most {} rows",
            footer.checkpoint_count,
            screen::count(footer.replay_rows_max)
        ));
    }
    lines.extend(column_lines(segment)?);
    lines.extend(block_lines(segment, all)?);
    lines.extend(checkpoint_lines(segment, all)?);
    Ok(lines)
}

/// Every column with its scale, and the bytes that its pages take.
fn column_lines(segment: &Segment) -> Result<Vec<String>> {
    let schema = segment.schema();
    let mut bytes = vec![0u64; schema.columns.len() + 1];
    let mut encodings: Vec<Vec<u8>> = vec![Vec::new(); schema.columns.len() + 1];
    for block in 0..segment.blocks().len() {
        for page in segment.pages(block)? {
            let at = usize::from(page.column).min(schema.columns.len());
            bytes[at] += u64::from(page.len);
            if !encodings[at].contains(&page.encoding) {
                encodings[at].push(page.encoding);
            }
        }
    }
    let rows = segment.footer().rows.max(1) as f64;
    let mut lines = vec!["  column         scale  B/row  encodings".to_owned()];
    for (at, bytes) in bytes.iter().enumerate() {
        let name = schema.columns.get(at).map_or("message ends", |spec| spec.name);
        if at == schema.columns.len() && !schema.is_grouped() {
            continue;
        }
        let scale = segment.scales().get(at).map_or(0, |(scale, _)| *scale);
        let names: Vec<_> = encodings[at].iter().map(|&code| encoding_name(code)).collect();
        let per_row = *bytes as f64 / rows;
        lines.push(format!("    {name:<13} {scale:>4} {per_row:>7.3}  {}", names.join(", ")));
    }
    Ok(lines)
}

fn encoding_name(code: u8) -> String {
    Encoding::from_code(code)
        .map_or_else(|| format!("unknown {code}"), |e| format!("{e:?}").to_lowercase())
}

fn column_name(schema: &Schema, column: u8) -> &'static str {
    if column == ENDS_COLUMN {
        return "message ends";
    }
    schema.columns.get(usize::from(column)).map_or("?", |spec| spec.name)
}

fn block_lines(segment: &Segment, all: bool) -> Result<Vec<String>> {
    let mut lines = vec![format!("  {} blocks", segment.blocks().len())];
    for (number, block) in shown(segment.blocks(), all).iter().enumerate() {
        lines.push(format!(
            "    block {number}: byte {}, {} rows in {} messages, {} .. {}, {}, flags {}",
            block.offset,
            block.rows,
            block.messages,
            TsNs(block.ts_recv_first),
            TsNs(block.ts_recv_last),
            screen::bytes(block.len.into()),
            flag_names(block.flags)
        ));
        for page in if all { segment.pages(number)? } else { &[] } {
            let reference = match page.reference {
                NO_REFERENCE => String::new(),
                column => format!(" from {}", column_name(segment.schema(), column)),
            };
            lines.push(format!(
                "      {:<13} {:>8} values {:>9} bytes at {:>9}  {}{reference}",
                column_name(segment.schema(), page.column),
                page.count,
                page.len,
                block.offset + u64::from(page.offset),
                encoding_name(page.encoding)
            ));
        }
    }
    lines.extend(rest_line(segment.blocks().len(), all));
    Ok(lines)
}

fn checkpoint_lines(segment: &Segment, all: bool) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, entry) in shown(segment.checkpoints(), all).iter().enumerate() {
        let (_, book) = segment.checkpoint(index)?;
        lines.push(format!(
            "    checkpoint {index}: byte {}, before row {} (message {}), {} bids, {} asks, {}, {}",
            entry.offset,
            entry.row,
            entry.message,
            book.bids.prices.len(),
            book.asks.prices.len(),
            super::book::state_parts(book.state).0,
            screen::bytes(entry.len.into())
        ));
    }
    lines.extend(rest_line(segment.checkpoints().len(), all));
    Ok(lines)
}

fn manifest_lines(file: &[u8], path: &Path, all: bool) -> Result<Vec<String>> {
    let (contents, range) = decode(file).map_err(|f| Error::from(f).at_path(path))?;
    let segments = segment_slice(file.get(range).unwrap_or_default());
    let mut lines = vec![
        format!("manifest {} of store {:016x}", contents.generation, contents.store_id),
        format!(
            "  {} streams, {} segments, {} rows, {}",
            contents.streams.len(),
            segments.len(),
            screen::count(segments.iter().map(|entry| entry.rows).sum()),
            screen::bytes(segments.iter().map(|entry| entry.file_len).sum())
        ),
    ];
    for stream in shown(&contents.streams, all) {
        lines.push(format!("  stream {}: {}", stream.id, stream.key));
    }
    lines.extend(rest_line(contents.streams.len(), all));
    for entry in shown(segments, all) {
        lines.push(format!(
            "  segment {}: stream {}, day {}, {} rows, {} .. {}, {}",
            entry.segment_id,
            entry.stream_id,
            Day(entry.day),
            screen::count(entry.rows),
            TsNs(entry.ts_recv_first),
            TsNs(entry.ts_recv_last),
            screen::bytes(entry.file_len)
        ));
    }
    lines.extend(rest_line(segments.len(), all));
    Ok(lines)
}
