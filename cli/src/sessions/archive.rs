//! Files of this machine as a tar archive, and back: on a thread, a few pieces at a time.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::{mpsc, oneshot};

/// Pieces between the thread and the connection.
pub const WAITING: usize = 4;
const PIECE: usize = 32 * 1024;

/// Lets a thread do it, which the process does not wait for in its end: it may hang on somebody's input.
pub fn on_a_thread(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> oneshot::Receiver<io::Result<()>> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || tell.send(work()));
    told
}

/// What arrives over a channel, to be read by a thread. A piece that is an error is one, and an end that is not said
/// to be the last word, too: half an archive must not pass for a whole one.
pub struct Arriving {
    pieces: mpsc::Receiver<Arrival>,
    rest: Bytes,
    over: bool,
}

/// A piece of an archive, or its end.
pub enum Arrival {
    /// More of it.
    Data(Bytes),
    /// That was all.
    End,
}

impl Arriving {
    /// What comes over `pieces`.
    pub fn new(pieces: mpsc::Receiver<Arrival>) -> Self {
        Self { pieces, rest: Bytes::new(), over: false }
    }
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.over {
            match self.pieces.blocking_recv() {
                Some(Arrival::Data(data)) => self.rest = data,
                Some(Arrival::End) => self.over = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended in the middle",
                    ));
                }
            }
        }
        let length = self.rest.len().min(into.len());
        self.rest.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// What a thread writes, over a channel.
struct Leaving {
    pieces: mpsc::Sender<Bytes>,
    gathered: Vec<u8>,
}

impl Write for Leaving {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(from);
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        for piece in std::mem::take(&mut self.gathered).chunks(PIECE) {
            let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the connection ended");
            self.pieces.blocking_send(Bytes::copy_from_slice(piece)).map_err(gone)?;
        }
        Ok(())
    }
}

/// Unpacks what has one file or folder at its top: into the folder `to`, if it is one, else as `to`.
///
/// # Errors
/// It cannot be read, or not be written here.
pub fn unpack(from: Arriving, to: &Path) -> io::Result<()> {
    let mut archive = Archive::new(from);
    if to.is_dir() {
        archive.unpack(to)?;
        return finish(archive);
    }
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no folder {}", parent.display()),
        ));
    }
    // Beside it first: a name in the archive never says where something goes, and half of it is never there.
    let aside = tempdir_in(parent)?;
    let unpacked = archive.unpack(&aside).and_then(|()| finish(archive)).and_then(|()| {
        let top = fs::read_dir(&aside)?.next().transpose()?;
        let top = top.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the archive is empty"))?;
        fs::rename(top.path(), to)
    });
    let removed = fs::remove_dir_all(&aside);
    unpacked.and(removed)
}

/// Reads what follows the last entry: whoever sends waits for that.
fn finish(archive: Archive<Arriving>) -> io::Result<()> {
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

fn tempdir_in(parent: &Path) -> io::Result<PathBuf> {
    for n in 0..100 {
        let path = parent.join(format!(".evenkeel-cp.{}.{n}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no folder for what arrives can be made"))
}

/// Packs a file or folder under a name, as root's: who has it here says nothing about who is who in there.
///
/// # Errors
/// It cannot be read, or the connection ended.
pub fn pack(from: &Path, name: &str, pieces: mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut archive = Builder::new(Leaving { pieces, gathered: Vec::with_capacity(PIECE) });
    append(&mut archive, from, Path::new(name), &fs::metadata(from)?)?;
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<Leaving>, from: &Path, name: &Path, meta: &fs::Metadata) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    header.set_uid(0);
    header.set_gid(0);
    if meta.is_dir() {
        header.set_size(0);
        archive.append_data(&mut header, name, io::empty())?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            append(
                archive,
                &entry.path(),
                &name.join(entry.file_name()),
                &fs::symlink_metadata(entry.path())?,
            )?;
        }
    } else if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, name, fs::read_link(from)?)?;
    } else if meta.is_file() {
        let size = header.size()?;
        // As long as it was when it was looked at, whoever writes to it meanwhile.
        let data = fs::File::open(from)?.take(size).chain(io::repeat(0)).take(size);
        archive.append_data(&mut header, name, data)?;
    } else {
        eprintln!("evenkeel: {} is neither a file nor a folder, and is left out", from.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(from: &Path, name: &str, to: &Path, whole: bool) -> io::Result<()> {
        let (leave, mut left) = mpsc::channel(WAITING);
        let (arrive, arrived) = mpsc::channel(WAITING);
        let (from, name) = (from.to_owned(), name.to_owned());
        let packing = std::thread::spawn(move || pack(&from, &name, leave));
        let between = std::thread::spawn(move || {
            let mut carried = 0;
            while let Some(data) = left.blocking_recv() {
                carried += data.len();
                if !whole && carried > 1000 {
                    return;
                }
                if arrive.blocking_send(Arrival::Data(data)).is_err() {
                    return;
                }
            }
            let _gone = arrive.blocking_send(Arrival::End);
        });
        let unpacked = unpack(Arriving::new(arrived), to);
        between.join().unwrap();
        let packed = packing.join().unwrap();
        if whole { packed.and(unpacked) } else { unpacked }
    }

    #[test]
    fn files_and_folders_arrive_as_they_were() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = here.path().join("folder");
        fs::create_dir_all(folder.join("below")).unwrap();
        let long = vec![7; 300_000];
        fs::write(folder.join("below/long"), &long).unwrap();
        fs::write(folder.join("short"), "short").unwrap();
        std::os::unix::fs::symlink("short", folder.join("link")).unwrap();
        // Into a folder that is there, and as one that is not.
        carried(&folder, "folder", there.path(), true).unwrap();
        carried(&folder, "folder", &there.path().join("other"), true).unwrap();
        for name in ["folder", "other"] {
            let found = there.path().join(name);
            assert_eq!(fs::read(found.join("below/long")).unwrap(), long);
            assert_eq!(fs::read_to_string(found.join("link")).unwrap(), "short");
            assert_eq!(fs::read_link(found.join("link")).unwrap(), Path::new("short"));
        }
        carried(&folder.join("short"), "x", &there.path().join("renamed"), true).unwrap();
        assert_eq!(fs::read_to_string(there.path().join("renamed")).unwrap(), "short");
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 3, "nothing is left beside them");
    }

    #[test]
    fn half_a_file_is_no_file() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(here.path().join("f"), vec![7; 300_000]).unwrap();
        let to = there.path().join("f");
        assert!(carried(&here.path().join("f"), "f", &to, false).is_err());
        assert!(!to.exists());
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
        let nowhere = there.path().join("no/such");
        assert!(carried(&here.path().join("f"), "f", &nowhere, true).is_err());
    }
}
