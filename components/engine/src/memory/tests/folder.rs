//! Ordinary files over crashes.

use std::path::Path;

use super::super::{CrashPoint, Fault, FaultPoint, MemDisk, MemFolder};
use crate::EngineError;

fn open(disk: &MemDisk) -> MemFolder {
    disk.open_folder(Path::new("folder"))
}

fn names(folder: &MemFolder) -> Vec<String> {
    folder.list().unwrap().into_iter().map(|(name, _)| name).collect()
}

fn read(folder: &MemFolder, name: &str) -> Option<Vec<u8>> {
    folder.read(name, 0, usize::MAX).unwrap().map(Into::into)
}

#[test]
fn bytes_need_a_sync_and_names_another() {
    let disk = MemDisk::default();
    let folder = open(&disk);
    folder.append("both", 0, b"abcd").unwrap();
    folder.sync("both").unwrap();
    folder.sync_names().unwrap();
    folder.append("both", 4, b"efgh").unwrap();
    folder.append("bytes alone", 0, b"abcd").unwrap();
    folder.sync("bytes alone").unwrap();
    disk.crash_at(CrashPoint::OLDEST);
    assert!(folder.list().is_err(), "its process is dead");
    let folder = open(&disk);
    assert_eq!(names(&folder), ["both"]);
    assert_eq!(read(&folder, "both").unwrap(), b"abcd");
    assert_eq!(disk.used_bytes(), 4);
}

#[test]
fn a_torn_tail_leaves_half() {
    let disk = MemDisk::default();
    let folder = open(&disk);
    folder.append("file", 0, b"abcdefgh").unwrap();
    disk.crash_at(CrashPoint { torn_tail: true, ..CrashPoint::OLDEST });
    assert_eq!(read(&open(&disk), "file").unwrap(), b"abcd");
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(read(&open(&disk), "file").unwrap(), b"abcd", "what a crash left is there for good");
}

#[test]
fn removals_and_new_names_come_undone_with_a_crash() {
    let disk = MemDisk::default();
    let folder = open(&disk);
    for name in ["gone", "moved"] {
        folder.append(name, 0, name.as_bytes()).unwrap();
        folder.sync(name).unwrap();
    }
    folder.sync_names().unwrap();
    assert!(folder.remove("gone").unwrap());
    assert!(!folder.remove("gone").unwrap());
    folder.link("moved", "linked").unwrap();
    assert!(folder.link("moved", "linked").is_err(), "the name is taken");
    folder.rename("moved", "new").unwrap();
    assert_eq!(names(&folder), ["linked", "new"]);
    disk.crash_at(CrashPoint::OLDEST);
    let folder = open(&disk);
    assert_eq!(names(&folder), ["gone", "moved"]);
    folder.rename("moved", "gone").unwrap();
    folder.sync_names().unwrap();
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(read(&open(&disk), "gone").unwrap(), b"moved");
}

#[test]
fn writes_go_to_the_end_and_fit() {
    let disk = MemDisk::default();
    let folder = open(&disk);
    assert!(folder.append("file", 1, b"a").is_err(), "there is no such file");
    folder.append("file", 0, b"abc").unwrap();
    assert!(folder.append("file", 2, b"a").is_err());
    folder.append("file", 0, b"new").unwrap();
    assert_eq!(read(&folder, "file").unwrap(), b"new");
    assert_eq!((folder.size("file").unwrap(), folder.size("none").unwrap()), (Some(3), None));
    assert_eq!(folder.read("file", 1, 1).unwrap().unwrap(), "e");
    assert_eq!(folder.read("file", 9, 1).unwrap().unwrap(), "");
    disk.set_capacity(4);
    assert!(matches!(folder.append("file", 3, b"ab"), Err(EngineError::DiskFull { .. })));
    folder.append("file", 3, b"a").unwrap();
    disk.inject(FaultPoint::FileSync, 1, Fault::Io);
    assert!(folder.sync("file").is_err());
    folder.sync("file").unwrap();
}
