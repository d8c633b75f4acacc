//! Opening a store costs the same however many segments it has: it reads two small files and maps
//! one, and touches no segment. Nor does it read what the journal says before that is needed.

use std::path::Path;
use std::sync::Arc;

use tickreel::catalog;
use tickreel::event::Kind;
use tickreel::format::manifest::{SegmentEntry, StreamEntry};
use tickreel::quantity::TsNs;
use tickreel::store::Store;

use crate::live::live_options;
use crate::model::{ROOT, open};
use crate::oracle::key;
use crate::program::small_live;
use crate::sim::{SimDisk, State};
use crate::world::World;

/// What a store of so many segments does to its disk to be opened and listed.
fn operations(segments: i64) -> Vec<String> {
    let root = Path::new("/data/market.reel");
    let disk = SimDisk::new(State::new());
    let store = Store::open_or_create_on(Arc::new(disk.clone()), root, 7).unwrap();
    let mut contents = store.snapshot().unwrap().manifest().contents().clone();
    contents.generation += 1;
    contents.next_stream_id = 1;
    contents.next_segment_id = u64::try_from(segments).unwrap() + 1;
    let key = key("test:A", Kind::Trades);
    contents.streams = vec![StreamEntry { id: 0, key: key.clone(), journal_rows: 0 }];
    let entries: Vec<SegmentEntry> = (0..segments)
        .map(|day| {
            let start = TsNs(day * 86_400_000_000_000);
            SegmentEntry {
                segment_id: u64::try_from(day).unwrap() + 1,
                day: start.day().0,
                file_len: 4096,
                rows: 5,
                messages: 5,
                ts_recv_first: start.0,
                ts_recv_last: start.0 + 9,
                ts_event_min: start.0,
                ts_event_max: start.0,
                ..bytemuck::Zeroable::zeroed()
            }
        })
        .collect();
    catalog::commit(&disk, root, &contents, &entries).unwrap();
    drop(store);

    let disk = SimDisk::new(disk.state()).record();
    let store = Store::open_on(Arc::new(disk.clone()), root).unwrap();
    let infos = store.snapshot().unwrap().stream_infos();
    assert_eq!((infos[0].rows, infos[0].segments), (segments as u64 * 5, segments as usize));
    (0..disk.operations()).map(|operation| disk.describe(operation)).collect()
}

#[test]
fn a_writer_reads_the_journal_once() {
    let mut world = World::empty(|disk| disk);
    world.run(&small_live(1)).unwrap();
    let reads = |open: &dyn Fn(&SimDisk)| {
        let disk = SimDisk::new(world.disk.state()).record();
        open(&disk);
        let operations = (0..disk.operations()).map(|operation| disk.describe(operation));
        operations
            .filter(|operation| operation.contains("(ReadAt") && operation.contains(".jnl"))
            .count()
    };

    let reader = reads(&|disk| drop(Store::open_on(Arc::new(disk.clone()), Path::new(ROOT))));
    let writer = reads(&|disk| drop(open(disk).unwrap().writer(live_options()).unwrap()));

    // The end is read again for what a crash tore off.
    assert!(reader > 2 && writer <= reader + 3, "{reader} reads by a reader, {writer} by a writer");
}

#[test]
fn opening_a_store_touches_no_segment_however_many_there_are() {
    let (few, many) = (operations(3), operations(10_000));

    assert_eq!(few.len(), many.len(), "{many:#?}");
    assert!(many.len() <= 20, "{many:#?}");
    assert!(many.iter().all(|operation| !operation.contains("segments")), "{many:#?}");
}
