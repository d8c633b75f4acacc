//! Damage at rest in journal files: reported by verify and to whoever wants to write, readable up
//! to it; what was torn off the end is no damage, and kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickreel::ErrorKind;
use tickreel::format::journal::{FrameHead, FrameKind, Header};
use tickreel::store::Store;

use crate::live::live_options;
use crate::model::{Contents, ROOT, read, without_panic};
use crate::program::{Step, small_live};
use crate::sim::{Fault, NodeId, Plan, SECTOR, SimDisk, State};
use crate::world::World;

/// A store all rows of which are acknowledged, and its journal files, oldest first.
fn small_store(seed: u64) -> (State, Arc<Contents>, Vec<(PathBuf, NodeId)>) {
    let mut world = World::empty(|disk| disk);
    world.run(&small_live(seed)).unwrap();
    let state = world.disk.state();
    let mut files = state.files();
    files.retain(|(path, _)| path.extension().is_some_and(|end| end == "jnl"));
    assert!(files.len() > 1, "the newest journal file is not like the others");
    let [allowed] = world.allowed() else { panic!("not all rows are acknowledged") };
    assert!(allowed.shorter.is_empty());
    (state, allowed.contents.clone(), files)
}

/// Bytes of a journal up to the zeros of its reserved room.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// What became of a damaged journal.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Reported, and refused for writing; readers see what comes before it.
    Reported,
    /// Taken for the end that a crash tore off: nothing is lost, and the bytes are kept.
    Torn,
    /// What is missing held no rows.
    Whole,
    /// As if what came from there on had never been written.
    Shorter,
}

fn verdict(state: State, all: &Contents) -> Result<Verdict, String> {
    let disk = SimDisk::new(state);
    let shared = Arc::new(disk.clone());
    let wrong = |error: tickreel::Error| error.to_string();
    let store = match Store::open_on(shared, Path::new(ROOT)) {
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(Verdict::Reported),
        store => store.map_err(wrong)?,
    };
    let found = read(&store.snapshot().map_err(wrong)?).map_err(wrong)?;
    is_beginning(&found, all)?;
    let damage = store.verify(|_, _| ()).map_err(wrong)?.damage;
    let writer = match (store.writer(live_options()), damage.is_empty()) {
        (Err(error), false) if error.kind() == ErrorKind::Corrupt => return Ok(Verdict::Reported),
        (Ok(writer), true) => writer,
        (writer, _) => return Err(format!("verify {damage:?}, writer {:?}", writer.err())),
    };
    let found = read(&store.snapshot().map_err(wrong)?).map_err(wrong)?;
    drop(writer);
    is_beginning(&found, all)?;
    let kept = disk.state().find(&Path::new(ROOT).join("quarantine"));
    Ok(match (found == *all, kept) {
        (true, Ok(_)) => Verdict::Torn,
        (true, Err(_)) => Verdict::Whole,
        (false, _) => Verdict::Shorter,
    })
}

fn is_beginning(found: &Contents, all: &Contents) -> Result<(), String> {
    let wrong =
        found.iter().find(|(key, rows)| !all.get(*key).is_some_and(|all| all.starts_with(rows)));
    wrong.map_or(Ok(()), |(key, rows)| Err(format!("{key}: another answer, {} rows", rows.len())))
}

fn verdict_on(state: &State, all: &Contents, file: NodeId, bytes: Vec<u8>) -> Verdict {
    let len = bytes.len();
    let verdict = without_panic(|| verdict(state.with_bytes(file, bytes), all));
    verdict.unwrap_or_else(|what| panic!("{len} bytes of file {file}: {what}"))
}

#[test]
fn every_flipped_bit_of_a_journal_is_reported_unless_it_is_the_torn_end() {
    let (state, all, files) = small_store(1);
    let mut torn = Vec::new();
    for (place, (path, file)) in files.iter().enumerate() {
        let bytes = state.bytes(*file).unwrap();
        let end = used(bytes);
        for bit in 0..(end + 16) * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // In an older file the bytes after the last frame are void.
            let verdict = match verdict_on(&state, &all, *file, damaged) {
                verdict if bit / 8 < end => verdict,
                _ => continue,
            };
            let is_last = place + 1 == files.len();
            match verdict {
                Verdict::Reported => {}
                Verdict::Torn if is_last => torn.push(bit / 8),
                // The mark at the end of an older file is void.
                Verdict::Whole if !is_last && bit / 8 + size_of_mark() >= end => {}
                other => panic!("{}, bit {bit}: {other:?}", path.display()),
            }
        }
        println!("{}: {end} bytes", path.display());
    }
    // Only the mark after the last group may go unseen: it holds no rows.
    let end = used(state.bytes(files[files.len() - 1].1).unwrap()).next_multiple_of(8);
    assert!(torn.iter().all(|&byte| byte + size_of_mark() >= end), "{torn:?} of {end}");
    assert!(!torn.is_empty());
}

/// Bytes of a frame that holds nothing.
fn size_of_mark() -> usize {
    size_of::<FrameHead>()
}

#[test]
fn a_journal_that_is_cut_short_anywhere_is_reported() {
    let (state, all, files) = small_store(1);
    for (place, (path, file)) in files.iter().enumerate() {
        let bytes = state.bytes(*file).unwrap();
        for len in 0..bytes.len() {
            let verdict = verdict_on(&state, &all, *file, bytes[..len].to_vec());
            // Nothing was lost where a later file says that no frame is missing.
            let harmless = place + 1 < files.len() && verdict == Verdict::Whole;
            let right = verdict == Verdict::Reported || harmless;
            assert!(right, "{}, length {len}: {verdict:?}", path.display());
        }
    }
}

#[test]
fn every_lost_or_foreign_part_of_a_journal_is_reported() {
    let (state, all, files) = small_store(1);
    let (other, _, others) = small_store(9);
    for (place, (path, file)) in files.iter().enumerate() {
        let bytes = state.bytes(*file).unwrap();
        for sector in 0..used(bytes).div_ceil(SECTOR) {
            let mut damaged = bytes.to_vec();
            damaged[sector * SECTOR..].iter_mut().take(SECTOR).for_each(|byte| *byte = 0);
            let is_end = place + 1 == files.len() && (sector + 1) * SECTOR >= used(bytes);
            let verdict = verdict_on(&state, &all, *file, damaged);
            assert!(verdict == Verdict::Reported || is_end, "{}, {sector}", path.display());
        }
        let ours = files.iter().map(|(path, node)| (&state, path, node));
        for (from, name, node) in ours.chain(others.iter().map(|(path, node)| (&other, path, node)))
        {
            let foreign = from.bytes(*node).unwrap();
            // A journal that was never of this store says so by its number, or by its frames.
            if foreign != bytes && name != path {
                let verdict = verdict_on(&state, &all, *file, foreign.to_vec());
                assert_eq!(verdict, Verdict::Reported, "{} in {}", name.display(), path.display());
            }
        }
    }
}

/// What `verify` says is wrong.
fn verified(disk: &SimDisk) -> Vec<String> {
    let store = Store::open_on(Arc::new(disk.clone()), Path::new(ROOT)).unwrap();
    let report = store.verify(|_, _| ()).unwrap();
    report.damage.iter().map(|damage| damage.error.to_string()).collect()
}

#[test]
fn a_store_that_may_not_be_written_is_verified_like_any_other() {
    let (state, _, files) = small_store(1);
    let forever = |fault| Plan { at: 0, fault, forever: true };
    let (_, newest) = files[files.len() - 1];
    let mut bytes = state.bytes(newest).unwrap().to_vec();
    bytes[size_of::<Header>() + 20] ^= 1;
    for fault in [Fault::Erofs, Fault::Enospc] {
        let read_only = |state: &State| SimDisk::new(state.clone()).plan(forever(fault));
        let disk = read_only(&state);

        assert_eq!(verified(&disk), [""; 0], "{fault:?}");

        assert!(disk.struck() > 0, "no lock was refused");
        let damage = verified(&read_only(&state.with_bytes(newest, bytes.clone())));
        assert!(damage.len() == 1 && damage[0].contains("are damaged"), "{damage:?}");
    }
}

/// Frames that it has not read yet are no damage.
#[test]
fn a_writer_that_ends_while_its_journal_is_verified_leaves_no_damage() {
    let append = |seed| Step::Append { stream: 1, messages: 3, seed, after_ns: 5 };
    let mut world = World::empty(|disk| disk);
    world.run(&[Step::Open, append(1), Step::Commit]).unwrap();
    let before = world.disk.state();
    world.run(&[append(2), Step::Commit, append(3), Step::Commit]).unwrap();

    let disk = SimDisk::new(before).until_lock(world.disk.state());

    assert_eq!(verified(&disk), [""; 0]);
    assert_eq!(disk.state().digest(), world.disk.state().digest(), "no lock was asked for");
}

/// Heads whose frames would overlap would cost the square of their number.
#[test]
fn a_journal_of_heads_that_claim_each_other_is_not_searched_to_its_end() {
    let (state, _, files) = small_store(1);
    let (_, newest) = files[files.len() - 1];
    let bytes = state.bytes(newest).unwrap();
    let header = Header::decode(bytes).unwrap();
    let with_heads = |kind| {
        let mut hostile = bytes[..used(bytes).next_multiple_of(8)].to_vec();
        for left in (2..=1000u32).rev() {
            let (len, journal_id, seq) = (left * 40, header.journal_id, 1 << 40);
            let head = FrameHead { len, journal_id, seq, kind, ..bytemuck::Zeroable::zeroed() };
            hostile.extend_from_slice(bytemuck::bytes_of(&head));
        }
        hostile.extend_from_slice(&[7; 40]);
        SimDisk::new(state.with_bytes(newest, hostile))
    };

    let damage = verified(&with_heads(FrameKind::Rows as u8));

    assert!(damage.len() == 1 && damage[0].contains("too many frames begin"), "{damage:?}");
    // No writer made these: bytes that a crash left, and nothing more.
    assert_eq!(verified(&with_heads(9)), [""; 0]);
}
