//! Files of this machine as a tar archive, and back: on a thread, a few pieces at a time.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::{Buf, Bytes};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::{mpsc, oneshot};

use crate::output::complain;

use super::aside::Aside;
use super::place::{only, place, place_all};

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

/// Unpacks what came when a path was asked for whose last part is `name`; `None`: what is in a folder was asked for.
/// It goes into the folder `to`, if it is one, else it becomes `to`.
///
/// Beside its place first: half of it never takes the place of what is there, and no name that somebody else chose says
/// where something goes.
///
/// # Errors
/// It cannot be read, is not what was asked for, or cannot be written here.
pub fn unpack(from: Arriving, to: &Path, name: Option<&str>) -> io::Result<()> {
    let into = to.is_dir();
    let folder = match to.parent() {
        _ if into => to,
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no folder {}", folder.display()),
        ));
    }
    // A device, also behind a link, as `/dev/stdout` is: a file in its place would be missed by many.
    if fs::metadata(to).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is neither a file nor a folder; to standard output goes `cp … -`", to.display()),
        ));
    }
    let aside = Aside::within(folder)?;
    // It is not the folder itself, whose mode the archive must not change.
    let top = aside.path().join("top");
    fs::create_dir(&top)?;
    let mut archive = Archive::new(from);
    archive.unpack(&top)?;
    finish(archive)?;
    let Some(name) = name else {
        return if into { place_all(&top, to) } else { place(&top, to) };
    };
    only(&top, name)?;
    let found = top.join(name);
    if into { place(&found, &to.join(name)) } else { place(&found, to) }
}

/// Reads what follows the last entry: whoever sends waits for that.
fn finish(archive: Archive<Arriving>) -> io::Result<()> {
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
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
        complain!("{} is neither a file nor a folder, and is left out", from.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
