//! The disk itself: what a crash may take, and what a failed sync does.

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new("/").join(name)
}

/// A disk with a file of `bytes` that is written and neither synced nor named durably.
fn with_file(bytes: &[u8]) -> (SimDisk, Box<dyn WriteFile>) {
    let disk = SimDisk::new(State::new());
    let mut file = disk.create(&path("a")).unwrap();
    file.append(bytes).unwrap();
    (disk, file)
}

fn after_crash(disk: &SimDisk, keep: impl Fn(usize) -> bool) -> Option<Vec<u8>> {
    SimDisk::new(disk.state().crash(keep)).read(&path("a"), u64::MAX).ok()
}

#[test]
fn bytes_need_a_sync_of_the_file_and_its_name_one_of_the_folder() {
    let (disk, mut file) = with_file(b"hello");
    assert_eq!(after_crash(&disk, |_| false), None);
    assert_eq!(after_crash(&disk, |_| true).unwrap(), b"hello");

    file.sync().unwrap();
    assert_eq!(after_crash(&disk, |_| false), None, "the name is not durable");
    disk.sync_folder(&path("")).unwrap();
    assert_eq!(after_crash(&disk, |_| false).unwrap(), b"hello");
}

#[test]
fn a_crash_tears_at_sectors_and_keeps_length_and_bytes_on_their_own() {
    let (disk, _file) = with_file(&[7; 2 * SECTOR]);
    disk.sync_folder(&path("")).unwrap();
    // Pending are the two sectors and the length.
    assert_eq!(disk.state().pending(), 3);
    assert_eq!(after_crash(&disk, |_| false).unwrap(), b"");
    assert_eq!(after_crash(&disk, |unit| unit < 2).unwrap(), b"", "bytes without their length");
    assert_eq!(after_crash(&disk, |unit| unit == 2).unwrap(), [0; 2 * SECTOR]);
    let torn = after_crash(&disk, |unit| unit != 0).unwrap();
    assert_eq!((&torn[..SECTOR], &torn[SECTOR..]), (&[0; SECTOR][..], &[7; SECTOR][..]));
}

#[test]
fn a_rename_happens_whole_or_not() {
    let (disk, mut file) = with_file(b"new");
    file.sync().unwrap();
    disk.sync_folder(&path("")).unwrap();
    disk.rename(&path("a"), &path("b")).unwrap();

    for (keep, expected) in [(false, "a"), (true, "b")] {
        let crashed = SimDisk::new(disk.state().crash(|_| keep));
        assert_eq!(crashed.list(&path("")).unwrap(), [(path(expected), false)]);
        assert_eq!(crashed.read(&path(expected), 9).unwrap(), b"new");
    }
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_writes_nothing() {
    let visible = [(Fault::SyncKeepsNew, &b"lost"[..]), (Fault::SyncGivesOld, b"")];
    for (fault, expected) in visible {
        let disk = SimDisk::new(State::new()).plan(Plan { at: 2, fault, forever: false });
        let mut file = disk.create(&path("a")).unwrap();
        file.append(b"lost").unwrap();
        assert!(file.sync().is_err());
        file.sync().unwrap();
        disk.sync_folder(&path("")).unwrap();
        assert_eq!(disk.read(&path("a"), 9).unwrap(), expected, "{fault:?}");
        assert_eq!(after_crash(&disk, |_| true).unwrap(), b"", "{fault:?}");
    }
}

#[test]
fn reserved_room_reads_as_zeros_and_is_filled_in_place() {
    let disk = SimDisk::new(State::new());
    let mut file = disk.create(&path("a")).unwrap();
    file.reserve(600).unwrap();
    file.append(b"ab").unwrap();
    file.append(b"c").unwrap();

    let mut out = [9; 4];
    let reader = disk.open(&path("a")).unwrap();
    assert_eq!(reader.read_at(1, &mut out).unwrap(), 4);
    assert_eq!(&out, b"bc\0\0");
    assert_eq!(reader.read_at(598, &mut out).unwrap(), 2);
    assert_eq!(disk.len(&path("a")).unwrap(), 600);
}

#[test]
fn locks_exclude_and_end_with_their_handle_and_with_the_machine() {
    let (disk, _file) = with_file(b"x");
    let (first, second) = (disk.pin(&path("a")).unwrap(), disk.pin(&path("a")).unwrap());
    assert!(first.is_some() && second.is_some());
    drop(first);
    assert!(disk.unpinned(&path("a")).unwrap().is_none());
    assert!(SimDisk::new(disk.state()).unpinned(&path("a")).unwrap().is_some());
    drop(second);
    let exclusive = disk.lock(&path("a")).unwrap();
    assert!(exclusive.is_some() && disk.pin(&path("a")).unwrap().is_none());
}
