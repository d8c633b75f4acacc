//! What is fed: each target takes bytes, and says whether they were read as valid.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use tickreel::book::Tracker;
use tickreel::codec::{Encoding, IntegerPage, decode_texts, encode_compact, encode_integers};
use tickreel::disk::HeapBytes;
use tickreel::event::{
    Batch, BatchBuilder, Kind, MessageHead, Side, TextValues, TradeRow, TradeSide,
};
use tickreel::format::checkpoint;
use tickreel::format::journal::{
    self, FrameHead, FrameKind, decode_frame, decode_rows, encode_frame, encode_rows,
};
use tickreel::format::manifest::{self, decode_current, decode_stream};
use tickreel::ingest::sample::{MarketOptions, write_captures};
use tickreel::ingest::{Frame, Input, Rows, tardis_csv, venues};
use tickreel::rpc::proto;
use tickreel::rpc::{BookQuery, CoverageQuery, ReplayQuery, SampleQuery, ScanQuery};
use tickreel::segment::{ColumnMask, Segment};
use tickreel::{Decimal, Instrument, TsNs};

use crate::checksums;

/// What a mutation starts from.
pub struct Seed {
    /// Bytes in front that are not changed.
    pub head: Vec<u8>,
    /// Bytes that are.
    pub bytes: Vec<u8>,
}

/// Something that takes bytes from outside.
pub struct Target {
    pub name: &'static str,
    /// Whether its inputs are text.
    pub text: bool,
    pub seeds: fn() -> Vec<Seed>,
    /// Makes checksums right again.
    pub fix: fn(&mut [u8]),
    pub run: fn(&[u8]) -> bool,
}

const fn binary(
    name: &'static str,
    seeds: fn() -> Vec<Seed>,
    fix: fn(&mut [u8]),
    run: fn(&[u8]) -> bool,
) -> Target {
    Target { name, text: false, seeds, fix, run }
}

/// All targets.
pub static TARGETS: &[Target] = &[
    binary("segment", || vectors(&["segment-"]), checksums::segment, segment),
    binary("page", pages, checksums::none, page),
    binary("checkpoint", || vectors(&["checkpoint-"]), checksums::none, checkpoint_bytes),
    binary("manifest", || vectors(&["manifest-", "current"]), checksums::manifest, manifest_bytes),
    binary("journal", journals, checksums::journal, journal_bytes),
    binary("request", requests, checksums::none, request),
    Target { name: "feed", text: true, seeds: feeds, fix: checksums::none, run: feed },
    Target { name: "csv", text: true, seeds: csvs, fix: checksums::none, run: csv },
    Target { name: "value", text: true, seeds: values, fix: checksums::none, run: value },
];

fn seed(bytes: impl Into<Vec<u8>>) -> Seed {
    Seed { head: Vec::new(), bytes: bytes.into() }
}

/// Vectors of the specification whose names begin so.
fn vectors(prefixes: &[&str]) -> Vec<Seed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../format-spec/vectors");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.path()).collect();
    paths.sort();
    let chosen = paths.into_iter().filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".bin") && prefixes.iter().any(|prefix| name.starts_with(prefix))
    });
    chosen.filter_map(|path| std::fs::read(path).ok()).map(seed).collect()
}

fn segment(bytes: &[u8]) -> bool {
    let shared = Arc::new(HeapBytes::new(bytes));
    let Ok(segment) = Segment::open(shared, Path::new("fuzz.seg"), None) else { return false };
    let mut batch = Batch::new(segment.kind());
    for block in 0..segment.blocks().len() {
        match segment.read(block, 0..u64::MAX, ColumnMask::ALL, batch) {
            Ok(read) => batch = read,
            Err(_) => batch = Batch::new(segment.kind()),
        }
    }
    let mut tracker = Tracker::new();
    let middle = segment.messages() / 2;
    let restored = segment.restore(middle, &mut tracker, &mut Batch::new(segment.kind()));
    let found = segment.first_message_at(segment.footer().ts_recv_first);
    drop((restored, found));
    segment.verify(None).is_ok()
}

/// An encoding, a count and a width in front of a page.
fn pages() -> Vec<Seed> {
    let mut found = Vec::new();
    for (at, values) in [
        vec![7; 3000],
        (0..3000).map(|i| i * 100 + i % 3).collect::<Vec<i64>>(),
        (0..2500).map(|i| (i * 7919) % 1000).collect(),
        (0..1100).map(|i| if i % 50 == 0 { i64::MAX - i } else { i % 16 }).collect(),
        vec![i64::MIN, 5, i64::MAX, 0, -1],
    ]
    .into_iter()
    .enumerate()
    {
        for width in [1u8, 4, 8] {
            let narrow: Vec<i64> = match width {
                8 => values.clone(),
                _ => values.iter().map(|value| value.rem_euclid(100)).collect(),
            };
            let mut bytes = Vec::new();
            let encoding = encode_integers(&narrow, width.into(), &mut bytes) as u8;
            let count = narrow.len() as u32;
            let head = [&[encoding, width, at as u8][..], &count.to_le_bytes()].concat();
            found.push(Seed { head, bytes });
            let mut bytes = Vec::new();
            let encoding = encode_compact(&narrow, width.into(), None, &mut bytes).0 as u8;
            let head = [&[encoding, width, at as u8][..], &count.to_le_bytes()].concat();
            found.push(Seed { head, bytes });
        }
    }
    let mut texts = TextValues::default();
    (0..300).for_each(|i| texts.push(format!("trade-{}", i * 17).as_bytes()));
    let mut bytes = Vec::new();
    let encoding = tickreel::codec::encode_texts(&texts, &mut bytes) as u8;
    found.push(Seed { head: [&[encoding, 0, 99][..], &300u32.to_le_bytes()].concat(), bytes });
    found
}

fn page(bytes: &[u8]) -> bool {
    let Some((&[encoding, width, _, a, b, c, d], page)) = bytes.split_first_chunk::<7>() else {
        return false;
    };
    let count = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(encoding) = Encoding::from_code(encoding) else { return false };
    if width == 0 {
        return decode_texts(page, encoding, count, 0..count).is_ok();
    }
    let Ok(page) = IntegerPage::parse(page, encoding, count, width.into()) else { return false };
    let (mut wide, mut narrow) = (Vec::new(), Vec::new());
    let whole = page.read(0..count, &mut wide).is_ok();
    let part = page.read(count / 3..count / 2, &mut wide);
    let sides: Vec<u8> = (0..count.min(1 << 20)).map(|at| (at % 2) as u8).collect();
    let _ = page.read_mirrored(0..sides.len(), &sides, &mut wide);
    let found = page.partition_point(500);
    let one = width != 1 || page.read_u8(0..count, &mut narrow).is_ok();
    whole & part.is_ok() & found.is_ok() & one
}

fn checkpoint_bytes(bytes: &[u8]) -> bool {
    let Ok(book) = checkpoint::decode(bytes, 0) else { return false };
    Tracker::new().restore(&book.checkpoint(1, 2, 3)).is_ok()
}

fn manifest_bytes(bytes: &[u8]) -> bool {
    manifest::decode(bytes).is_ok() | decode_current(bytes).is_ok()
}

fn book_rows() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    for ts in 0..20 {
        builder.begin(MessageHead {
            ts_recv: TsNs(ts * 1000),
            ts_event: Some(TsNs(ts * 999)),
            venue_seq: Some(ts),
            snapshot: ts == 0,
        });
        for (side, price) in [(Side::Bid, 100 - ts % 5), (Side::Ask, 101 + ts % 4)] {
            let qty = Decimal::new(ts % 3, 2).unwrap_or(Decimal::ZERO);
            builder.level(side, Decimal::new(price, 1).unwrap_or(Decimal::ZERO), qty);
        }
        builder.end();
    }
    builder.finish().unwrap_or_default().remove(0)
}

fn trade_rows() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for ts in 0..9 {
        builder.trade(&TradeRow {
            ts_recv: TsNs(ts),
            ts_event: None,
            side: TradeSide::Sell,
            price: Decimal::ZERO,
            qty: Decimal::ZERO,
            trade_id: "some-id",
        });
    }
    builder.finish().unwrap_or_default().remove(0)
}

const JOURNAL_ID: u64 = 77;

fn journals() -> Vec<Seed> {
    let header = journal::Header::new(1, JOURNAL_ID, 1, 1, 64);
    let mut bytes = bytemuck::bytes_of(&header).to_vec();
    for (seq, batch) in (1..).zip([book_rows(), trade_rows(), book_rows()]) {
        let head = FrameHead {
            journal_id: JOURNAL_ID,
            seq,
            watermark: seq - 1,
            stream_id: batch.kind().code().into(),
            kind: FrameKind::Rows as u8,
            ..bytemuck::Zeroable::zeroed()
        };
        encode_frame(&mut bytes, head, |out| encode_rows(out, &batch, seq * 100));
    }
    let stream = manifest::StreamEntry {
        id: 3,
        key: tickreel::event::StreamKey {
            instrument: Instrument::parse("fuzz:BTC").expect("a good name"),
            kind: Kind::Book,
        },
        journal_rows: 0,
    };
    let head = FrameHead {
        journal_id: JOURNAL_ID,
        seq: 4,
        watermark: 3,
        stream_id: 3,
        kind: FrameKind::Stream as u8,
        ..bytemuck::Zeroable::zeroed()
    };
    encode_frame(&mut bytes, head, |out| manifest::encode_stream(&stream, out));
    vec![seed(bytes)]
}

fn journal_bytes(bytes: &[u8]) -> bool {
    let Ok(header) = journal::Header::decode(bytes) else { return false };
    let mut rest = bytes.get(size_of::<journal::Header>()..).unwrap_or_default();
    let mut good = false;
    while let Some(frame) = decode_frame(rest, header.journal_id) {
        good |= match frame.kind {
            FrameKind::Rows => {
                let kind = Kind::from_code(frame.head.stream_id as u8).unwrap_or(Kind::Book);
                decode_rows(frame.payload, kind).is_ok_and(|(_, batch)| {
                    let mut tracker = Tracker::new();
                    drop(tracker.apply(&batch, 0..batch.messages()));
                    true
                })
            }
            FrameKind::Stream => decode_stream(frame.payload).is_some(),
            FrameKind::Mark => true,
        };
        rest = rest.get(frame.head.len as usize..).unwrap_or_default();
    }
    good
}

fn requests() -> Vec<Seed> {
    let name = "binance-futures:BTCUSDT".to_owned();
    let book = proto::GetBookRequest { instrument: name.clone(), at_ns: 5, depth: 10 };
    let scan = proto::ScanRequest {
        instrument: name.clone(),
        kind: 1,
        from_ns: Some(1),
        to_ns: Some(9),
        ..Default::default()
    };
    let sample = proto::SampleBooksRequest {
        instrument: name.clone(),
        from_ns: 1,
        to_ns: 1000,
        every_ns: 10,
        depth: 5,
    };
    let coverage = proto::GetCoverageRequest { instrument: name, ..Default::default() };
    let open = proto::ReplayOpen { speed: 2.0, ..Default::default() };
    let encoded = [
        book.encode_to_vec(),
        scan.encode_to_vec(),
        sample.encode_to_vec(),
        coverage.encode_to_vec(),
        open.encode_to_vec(),
    ];
    let numbered = (0u8..).zip(encoded);
    numbered.map(|(number, bytes)| Seed { head: vec![number], bytes }).collect()
}

fn request(bytes: &[u8]) -> bool {
    let Some((&which, bytes)) = bytes.split_first() else { return false };
    match which {
        0 => proto::GetBookRequest::decode(bytes).is_ok_and(|r| BookQuery::try_from(r).is_ok()),
        1 => proto::ScanRequest::decode(bytes).is_ok_and(|r| ScanQuery::try_from(r).is_ok()),
        2 => {
            proto::SampleBooksRequest::decode(bytes).is_ok_and(|r| SampleQuery::try_from(r).is_ok())
        }
        3 => proto::GetCoverageRequest::decode(bytes)
            .is_ok_and(|r| CoverageQuery::try_from(&r).is_ok()),
        _ => proto::ReplayOpen::decode(bytes).is_ok_and(|r| ReplayQuery::try_from(r).is_ok()),
    }
}

/// The first lines of every capture of a short sample market, by name.
fn market() -> Vec<(String, Vec<String>)> {
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut options = MarketOptions::new(5).expect("the default market is good");
    options.duration_ns = 3_000_000_000;
    options.truth_every_ns = 1_000_000_000;
    options.instruments.iter_mut().for_each(|instrument| instrument.levels = 100);
    let mut files = Vec::new();
    let open = |name: &str| {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        files.push((name.to_owned(), bytes.clone()));
        Ok(Box::new(Shared(bytes)) as Box<dyn Write + Send>)
    };
    write_captures(&options, open, |_| {}).expect("a short market");
    let lines = |(name, bytes): (String, Arc<Mutex<Vec<u8>>>)| {
        let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let input = Input::from_reader(Path::new(&name), Box::new(Cursor::new(bytes)));
        let lines = input.map(|mut input| first_lines(&mut input, 200)).unwrap_or_default();
        (name, lines)
    };
    files.into_iter().map(lines).collect()
}

/// Messages of every venue: of the sample market where it speaks the venue's language, else of the
/// shape that all have; and, where the folder of real captures is there, its first lines.
fn feeds() -> Vec<Seed> {
    let exchanges = venues::exchanges();
    let mut messages: Vec<String> = Vec::new();
    for (_, lines) in market() {
        // A line of a capture is its local time and a message.
        let jsons = lines.iter().filter_map(|line| line.find('{').map(|at| line[at..].to_owned()));
        messages.extend(jsons.take(60));
    }
    let folder = std::env::var("TICKREEL_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    for file in ["okx-ws", "kraken-ws", "bybit-ws", "coinbase-ws", "binance-ws"] {
        messages.extend(captured(&Path::new(&folder).join(file)));
    }
    let bybit = concat!(
        r#"{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"#,
        r#""data":{"s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]],"u":1,"seq":7}}"#,
    );
    let kraken = concat!(
        r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","#,
        r#""bids":[{"price":1.5,"qty":2}],"asks":[],"checksum":5}]}"#,
    );
    messages.extend([bybit, kraken].map(str::to_owned));
    let numbered = messages.chunks(3).flat_map(|lines| {
        let bytes = lines.join("\n");
        let shared = (0..exchanges.len()).step_by(2).map(move |at| (at, bytes.clone()));
        shared.collect::<Vec<_>>()
    });
    numbered.map(|(at, text)| Seed { head: vec![at as u8], bytes: text.into() }).collect()
}

/// Messages from the first lines of every file in a folder.
fn captured(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let inputs = files.filter_map(|file| Input::open(&file.path()).ok());
    let lines = inputs.flat_map(|mut input| first_lines(&mut input, 30));
    lines.filter_map(|line| line.find('{').map(|at| line[at..].to_owned())).collect()
}

/// The first lines that are not very long.
fn first_lines(input: &mut Input, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..count {
        match input.next_line() {
            Ok(Some(line)) if line.text.len() < 6000 => {
                found.push(String::from_utf8_lossy(line.text).into_owned());
            }
            Ok(Some(_)) => {}
            _ => break,
        }
    }
    found
}

fn feed(bytes: &[u8]) -> bool {
    let Some((&which, text)) = bytes.split_first() else { return false };
    let exchanges = venues::exchanges();
    let exchange = exchanges[usize::from(which) % exchanges.len()];
    let Ok(mut dialect) = venues::dialect(exchange, Some("BTCUSDT")) else { return false };
    let (mut rows, mut good) = (Rows::new(), false);
    for (ts, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let reply = Frame::Reply { url: "https://example/depth?symbol=BTCUSDT", body: line };
        good |= dialect.frame(TsNs(ts), 0, &Frame::Message(line), &mut rows).is_ok();
        for frame in [reply, Frame::Sent(line)] {
            drop(dialect.frame(TsNs(ts), 0, &frame, &mut rows));
        }
    }
    drop(dialect.frame(TsNs(i64::MAX), 0, &Frame::Disconnected, &mut rows));
    drop(dialect.finish(&mut rows));
    good & rows.take().is_ok()
}

fn csvs() -> Vec<Seed> {
    let files = market().into_iter().filter(|(name, _)| name.contains(".csv"));
    let shares = |(_, lines): (String, Vec<String>)| {
        let parts = (1..4).map(|share| seed(lines[..lines.len() * share / 3].join("\n")));
        parts.collect::<Vec<_>>()
    };
    files.flat_map(shares).collect()
}

fn csv(bytes: &[u8]) -> bool {
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(input) = Input::from_reader(Path::new("fuzz.csv"), reader) else { return false };
    let Ok(mut source) = tardis_csv::from_input(input, None) else { return false };
    let mut rows = Rows::new();
    while let Ok(true) = source.fill(&mut rows) {}
    rows.take().is_ok_and(|batches| !batches.is_empty())
}

fn values() -> Vec<Seed> {
    let texts = [
        "2024-08-08T23:57:00.123456789Z",
        "2024-08-08",
        "1723158000000000000",
        "61701.20",
        "-0.000000000000000001",
        "9223372036854775807",
        "1e-7",
        "binance-futures:BTCUSDT",
    ];
    texts.map(seed).into_iter().collect()
}

fn value(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let time = TsNs::parse(text).map(|ts| TsNs::parse(&ts.to_string()).is_ok_and(|t| t == ts));
    let decimal = Decimal::parse(text)
        .map(|value| Decimal::parse(&value.to_string()).is_ok_and(|again| again == value));
    let name = Instrument::parse(text)
        .map(|name| Instrument::parse(&name.to_string()).is_ok_and(|again| again == name));
    let checks = [time.ok(), decimal.ok(), name.ok()];
    assert!(checks.iter().flatten().all(|&same| same), "{text:?} does not come back");
    checks.iter().any(Option::is_some)
}
