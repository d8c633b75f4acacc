//! Checkpoints, manifests and `CURRENT`.

use tickreel::book::State;
use tickreel::event::{Kind, StreamKey};
use tickreel::format::checkpoint::{self, CheckpointBook, SideLevels};
use tickreel::format::manifest::{self, Contents, SegmentEntry, StreamEntry};
use tickreel::quantity::{DAY_NS, NULL, TsNs};

use crate::Vector;
use crate::describe::{self, Toml};
use crate::segments::{DAY, IDENTITY, NOON};

pub fn vectors() -> Vec<Vector> {
    let side = |prices: Vec<i64>, qtys: Vec<i64>| SideLevels { prices, qtys };
    let empty = CheckpointBook::default();
    let live = CheckpointBook {
        state: State::Live,
        price_scale: 1,
        qty_scale: 2,
        bids: side(vec![-5, -10], vec![1200, 50]),
        asks: side(vec![3], vec![25]),
    };
    let stale = CheckpointBook {
        state: State::Stale { since: TsNs(NOON), missing: 4 },
        price_scale: 2,
        qty_scale: 5,
        bids: side(
            (0..1100).map(|i| 6_000_000 - i * 50).collect(),
            (0..1100).map(|i| 1 + i * i % 977).collect(),
        ),
        asks: side(
            (0..40).map(|i| 6_000_050 + i * i * 50).collect(),
            (0..40).map(|i| 1000 + i * 7919 % 101).collect(),
        ),
    };
    let (contents, segments) = normal();
    let normal = manifest::encode(&contents, &segments);
    let current = manifest::encode_current(12, crc32fast::hash(&normal)).into_bytes();
    vec![
        checkpoint("checkpoint-empty", "a book of which nothing is known", &empty),
        checkpoint("checkpoint-live", "two bids and an ask below and above 0", &live),
        checkpoint("checkpoint-stale", "1,100 bids and 40 asks, 4 messages missing", &stale),
        manifest("manifest-empty", "a store without streams, as it is made", &new_store(), &[]),
        manifest("manifest-normal", "three streams, four segments", &contents, &segments),
        Vector::new("current", current.clone(), {
            let (generation, crc) = manifest::decode_current(&current).unwrap();
            let mut toml = Toml::default();
            toml.text("form", "current");
            toml.text("about", "names manifest-normal");
            toml.number("generation", generation);
            toml.text("manifest_crc", &format!("{crc:08x}"));
            toml.finish()
        }),
    ]
}

fn checkpoint(name: &str, about: &str, book: &CheckpointBook) -> Vector {
    let mut bytes = Vec::new();
    checkpoint::encode(book, false, &mut bytes);
    let read = checkpoint::decode(&bytes, 0).unwrap();
    assert_eq!(&read, book, "{name}");
    let mut toml = Toml::default();
    toml.text("form", "checkpoint");
    toml.text("about", about);
    describe::book(&mut toml, &read);
    Vector::new(name, bytes, toml.finish())
}

fn new_store() -> Contents {
    Contents {
        store_id: IDENTITY.store_id,
        generation: 1,
        next_segment_id: 1,
        next_stream_id: 0,
        first_journal: 1,
        next_seq: 1,
        streams: Vec::new(),
    }
}

pub fn normal() -> (Contents, Vec<SegmentEntry>) {
    let stream = |id: u32, name: &str, kind| StreamEntry {
        id,
        key: StreamKey { instrument: name.parse().unwrap(), kind },
        journal_rows: 20 * u64::from(id),
    };
    let contents = Contents {
        store_id: IDENTITY.store_id,
        generation: 12,
        next_segment_id: 9,
        next_stream_id: 5,
        first_journal: 3,
        next_seq: 70,
        streams: vec![
            stream(0, "binance-futures:BTCUSDT", Kind::Book),
            stream(1, "binance-futures:BTCUSDT", Kind::Trades),
            stream(4, "kraken:XBT/USD", Kind::Status),
        ],
    };
    let entry = |segment_id: u64, stream_id, day, first: i64| {
        let mut scales = [0; 16];
        (scales[5], scales[6]) = if stream_id == 0 { (1, 3) } else { (0, 0) };
        SegmentEntry {
            segment_id,
            stream_id,
            day,
            file_len: 4096 + segment_id * 64,
            rows: 100 + segment_id,
            messages: if stream_id == 0 { 40 } else { 100 + segment_id },
            ts_recv_first: first,
            ts_recv_last: first + 5_000_000_000,
            ts_event_min: if stream_id == 4 { NULL } else { first - 3_000_000 },
            ts_event_max: if stream_id == 4 { NULL } else { first + 4_999_000_000 },
            content_hash: 0x0123_4567_89ab_cde0 + segment_id,
            file_crc: 0xc0ff_ee00 + segment_id as u32,
            flags: if stream_id == 0 { 6 } else { 0 },
            replay_rows_max: if stream_id == 0 { 80 } else { 0 },
            scales,
            reserved: [0; 16],
        }
    };
    let segments = vec![
        entry(2, 0, DAY, NOON),
        entry(7, 0, DAY + 1, i64::from(DAY + 1) * DAY_NS),
        entry(3, 1, DAY, NOON + 1),
        entry(8, 4, DAY, NOON - 1),
    ];
    (contents, segments)
}

fn manifest(name: &str, about: &str, contents: &Contents, segments: &[SegmentEntry]) -> Vector {
    let bytes = manifest::encode(contents, segments);
    let (read, range) = manifest::decode(&bytes).unwrap();
    assert_eq!(&read, contents, "{name}");
    let entries: Vec<SegmentEntry> =
        bytes[range].chunks(128).map(bytemuck::pod_read_unaligned).collect();
    assert_eq!(entries, segments, "{name}");
    Vector::new(name, bytes, describe::manifest(about, &read, &entries))
}
