//! The files of a queue: groups of batches, each written and synced as one.
//!
//! ```text
//! segment  magic (8) | salt (8) | first position (8) | crc of those (4) | group …
//! group    magic (4) | salt (8) | first position (8) | batches (4) | length (4) | crc of the body (4)
//!          | crc of those (4) | body
//! ```
//!
//! A group begins only after the one before it was synced. So what is not whole at the end of the
//! last file was never acknowledged and is cut off; what is not whole before another group was
//! damaged later, and is an error. The salt is drawn for each file, so that nothing that clients
//! send looks like a group.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use icecore_core::{Error, Result};

const FILE_MAGIC: [u8; 8] = *b"ICEPUSH1";
const GROUP_MAGIC: [u8; 4] = *b"GRP1";
pub(super) const FILE_HEADER: usize = 28;
const GROUP_HEADER: usize = 36;

/// A group as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: u64,
    pub(super) batches: u32,
    pub(super) body: Vec<u8>,
}

/// A file that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    salt: [u8; 8],
    /// Where the next group begins.
    end: u64,
}

impl Segment {
    /// Makes a file that is there whole or not at all.
    pub(super) fn create(dir: &Path, first: u64) -> Result<Self> {
        let path = dir.join(format!("{first:020}.log"));
        let temporary = dir.join(format!("{first:020}.new"));
        let salt = new_salt();
        let header = new_header(salt, first);
        let write = || -> std::io::Result<File> {
            let mut file = File::create(&temporary)?;
            file.write_all(&header)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()?;
            OpenOptions::new().read(true).write(true).open(&path)
        };
        let mut file = write().map_err(|error| failed(&path, error))?;
        let end = file.seek(SeekFrom::End(0)).map_err(|error| failed(&path, error))?;
        Ok(Self { path, file, salt, end })
    }

    /// Opens a file and reads its groups. A last file loses what is not whole at its end.
    pub(super) fn open(path: &Path, is_last: bool) -> Result<(Self, Vec<Group>)> {
        let open = || -> std::io::Result<(File, Vec<u8>)> {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|error| failed(path, error))?;
        let salt = file_header(&bytes).ok_or_else(|| damaged(path, 0))?;
        let (groups, end) = groups(&bytes, salt);
        let rest = bytes.get(end..).unwrap_or_default();
        if !rest.is_empty() {
            if !is_last || has_group(rest, salt) {
                return Err(damaged(path, end));
            }
            tracing::warn!(file = %path.display(), bytes = rest.len(), "cut off a torn end");
            let cut = file.set_len(end as u64).and_then(|()| file.sync_all());
            cut.map_err(|error| failed(path, error))?;
        }
        Ok((Self { path: path.to_owned(), file, salt, end: end as u64 }, groups))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is.
    pub(super) const fn len(&self) -> u64 {
        self.end
    }

    /// Writes a group and waits until it is on the disk.
    pub(super) fn append(&mut self, group: &Group) -> Result<()> {
        let bytes = frame(group, self.salt);
        let write = |file: &mut File| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&bytes)?;
            file.sync_data()
        };
        if let Err(error) = write(&mut self.file) {
            // Nothing of it may be found later: nobody was told that it is there.
            let undone = self.file.set_len(self.end).and_then(|()| self.file.sync_all());
            let error = failed(&self.path, error);
            return Err(match undone {
                Ok(()) => error,
                Err(_) => error.with_note("what was written of it could not be taken back"),
            });
        }
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// Puts a file of these groups in the place of what is there, whole or not at all.
pub(super) fn replace(path: &Path, groups: impl Iterator<Item = Group>) -> Result<()> {
    let temporary = path.with_extension("new");
    let salt = new_salt();
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(&temporary)?);
        file.write_all(&new_header(salt, 0))?;
        for group in groups {
            file.write_all(&frame(&group, salt))?;
        }
        file.into_inner()?.sync_all()?;
        std::fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|error| failed(path, error))
}

fn new_salt() -> [u8; 8] {
    *uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap_or(&[0; 8])
}

fn new_header(salt: [u8; 8], first: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(FILE_HEADER);
    header.extend_from_slice(&FILE_MAGIC);
    header.extend_from_slice(&salt);
    header.extend_from_slice(&first.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header
}

fn frame(group: &Group, salt: [u8; 8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(GROUP_HEADER + group.body.len());
    bytes.extend_from_slice(&GROUP_MAGIC);
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&group.first.to_le_bytes());
    bytes.extend_from_slice(&group.batches.to_le_bytes());
    bytes.extend_from_slice(&(group.body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&group.body).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&group.body);
    bytes
}

fn file_header(bytes: &[u8]) -> Option<[u8; 8]> {
    let header = bytes.get(..FILE_HEADER)?;
    let (content, crc) = header.split_at_checked(FILE_HEADER - 4)?;
    let is_whole =
        content.starts_with(&FILE_MAGIC) && crc == crc32fast::hash(content).to_le_bytes();
    is_whole.then(|| content.get(8..16)?.try_into().ok()).flatten()
}

/// The fields of the header that bytes begin with: first position, batches, length and crc.
fn group_header(bytes: &[u8], salt: [u8; 8]) -> Option<(u64, u32, u32, u32)> {
    let header = bytes.get(..GROUP_HEADER)?;
    let (content, crc) = header.split_at_checked(GROUP_HEADER - 4)?;
    if !content.starts_with(&GROUP_MAGIC)
        || content.get(4..12)? != salt
        || crc != crc32fast::hash(content).to_le_bytes()
    {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(content.get(at..at + 4)?.try_into().ok()?));
    let first = u64::from_le_bytes(content.get(12..20)?.try_into().ok()?);
    Some((first, number(20)?, number(24)?, number(28)?))
}

/// The whole groups, and where they end.
fn groups(bytes: &[u8], salt: [u8; 8]) -> (Vec<Group>, usize) {
    let (mut groups, mut end) = (Vec::new(), FILE_HEADER);
    while let Some(rest) = bytes.get(end..)
        && let Some((first, batches, len, crc)) = group_header(rest, salt)
        && let Some(body) = rest.get(GROUP_HEADER..GROUP_HEADER + len as usize)
        && crc32fast::hash(body) == crc
    {
        groups.push(Group { first, batches, body: body.to_vec() });
        end += GROUP_HEADER + len as usize;
    }
    (groups, end)
}

/// Whether a group begins anywhere behind the first byte.
fn has_group(bytes: &[u8], salt: [u8; 8]) -> bool {
    (1..bytes.len()).any(|at| {
        bytes.get(at..).is_some_and(|rest| {
            rest.starts_with(&GROUP_MAGIC) && group_header(rest, salt).is_some()
        })
    })
}

fn damaged(path: &Path, at: usize) -> Error {
    Error::corrupt(format!("`{}` is damaged at byte {at}", path.display()))
        .with_note("events that were accepted stand after it")
        .with_help("restore the file; or move it away, and push again what the table does not have")
}

pub(super) fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot use `{}`", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(first: u64, text: &str) -> Group {
        Group { first, batches: 1, body: text.as_bytes().to_vec() }
    }

    #[test]
    fn whatever_is_cut_or_flipped_at_the_end_only_unacknowledged_groups_are_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path(), 7).unwrap();
        segment.append(&group(7, "one")).unwrap();
        let second = segment.len() as usize;
        segment.append(&group(8, "GRP1two")).unwrap();
        let path = segment.path().to_owned();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(Segment::open(&path, true).unwrap().1.len(), 2);
        for end in FILE_HEADER..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut cut, found) = Segment::open(&path, true).unwrap();
            assert_eq!(found.len(), usize::from(end >= second), "cut at {end}");
            // It goes on from there.
            cut.append(&group(9, "three")).unwrap();
            assert_eq!(Segment::open(&path, false).unwrap().1.len(), found.len() + 1);
        }
        for at in second..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            std::fs::write(&path, &flipped).unwrap();
            assert!(Segment::open(&path, false).is_err(), "flipped at {at}");
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(Segment::open(&path, true).unwrap().1.len(), 1, "flipped at {at}");
        }
        // Before another group, it is damage and not a torn end.
        for at in 0..second {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            std::fs::write(&path, &flipped).unwrap();
            assert!(Segment::open(&path, true).is_err(), "flipped at {at}");
        }
    }
}
