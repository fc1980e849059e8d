//! What arrives is put aside first, and in its place once all of it is there.

use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Which bits of a mode an archive may set.
const MODE: u32 = 0o777;
/// The owner may look into a folder.
const SEEN: u32 = 0o500;
/// The owner may look into a folder, and change what is in it.
pub const OWNED: u32 = 0o700;

/// Whether `folder` holds one thing, called `name`, and nothing else.
///
/// # Errors
/// It does not, or cannot be read.
pub fn only(folder: &Path, name: &str) -> io::Result<()> {
    let mut is_there = false;
    for entry in fs::read_dir(folder)? {
        let found = entry?.file_name();
        if found != OsStr::new(name) {
            let why = format!("{name:?} was asked for, and {found:?} came: nothing of it is kept");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        is_there = true;
    }
    if is_there { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, "the archive is empty")) }
}

/// What becomes of something that comes to where something else is.
enum Fit {
    /// It takes its place.
    Replaces,
    /// What is in it goes into what is there.
    Joins,
    /// Nothing: what is there is in the way, and what it is.
    Not(&'static str),
}

/// So many things in the way are named.
const NAMED: usize = 10;

/// Moves `from` to `to`. A folder that is there takes in what the other one holds, and its mode; a file that is there
/// is replaced, and so is a link: it is never followed.
///
/// # Errors
/// Somewhere one of both is a folder and the other is not, and then nothing was moved; or it cannot be moved.
pub fn place(from: &Path, to: &Path) -> io::Result<()> {
    let mut in_the_way = Vec::new();
    look(from, to, &mut in_the_way)?;
    none(&in_the_way)?;
    put(from, to)
}

/// Moves all that is in the folder `from` into the folder `to`.
///
/// # Errors
/// As of [`place`].
pub fn place_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut in_the_way = Vec::new();
    look_into(from, to, &mut in_the_way)?;
    none(&in_the_way)?;
    put_all(from, to)
}

/// Finds all that would be in the way of [`put`].
fn look(from: &Path, to: &Path, in_the_way: &mut Vec<String>) -> io::Result<()> {
    let (moved, Some(there)) = meet(from, to)? else { return Ok(()) };
    match fit(&moved, &there) {
        Fit::Replaces => {}
        Fit::Joins => {
            let _open = (Ajar::open(from, mode(&moved))?, Ajar::open(to, mode(&there))?);
            look_into(from, to, in_the_way)?;
        }
        Fit::Not(what) => in_the_way.push(format!("{} {what}", to.display())),
    }
    Ok(())
}

fn look_into(from: &Path, to: &Path, in_the_way: &mut Vec<String>) -> io::Result<()> {
    each(from, |name| look(&from.join(name), &to.join(name), in_the_way))
}

fn none(in_the_way: &[String]) -> io::Result<()> {
    let (named, rest) = in_the_way.split_at(in_the_way.len().min(NAMED));
    if named.is_empty() {
        return Ok(());
    }
    let rest = if rest.is_empty() { String::new() } else { format!("\n  and {} more", rest.len()) };
    let why = format!("{}{rest}; nothing was changed", named.join("\n  "));
    Err(io::Error::new(ErrorKind::AlreadyExists, why))
}

fn put(from: &Path, to: &Path) -> io::Result<()> {
    let (moved, there) = meet(from, to)?;
    match there.as_ref().map(|there| (there, fit(&moved, there))) {
        None | Some((_, Fit::Replaces)) => rename(from, to, &moved),
        Some((there, Fit::Joins)) => merge(from, to, (mode(&moved), mode(there))),
        // It has come since it was looked at.
        Some((_, Fit::Not(what))) => {
            Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} {what}", to.display())))
        }
    }
}

fn put_all(from: &Path, to: &Path) -> io::Result<()> {
    each(from, |name| put(&from.join(name), &to.join(name)))
}

/// Does something with each name in a folder.
fn each(folder: &Path, mut with: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| said(folder, &error))? {
        with(&entry?.file_name())?;
    }
    Ok(())
}

/// What comes, and what is where it goes, if anything is.
fn meet(from: &Path, to: &Path) -> io::Result<(Metadata, Option<Metadata>)> {
    let moved = fs::symlink_metadata(from).map_err(|error| said(from, &error))?;
    match fs::symlink_metadata(to) {
        Ok(there) => Ok((moved, Some(there))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((moved, None)),
        Err(error) => Err(said(to, &error)),
    }
}

fn fit(moved: &Metadata, there: &Metadata) -> Fit {
    match (moved.is_dir(), there.is_dir()) {
        (false, false) if !there.is_file() && !there.is_symlink() => {
            Fit::Not("is neither a file nor a folder, and is left as it is")
        }
        (false, false) => Fit::Replaces,
        (true, true) => Fit::Joins,
        (true, false) => Fit::Not("is no folder, and a folder came"),
        (false, true) => Fit::Not("is a folder, and none came"),
    }
}

/// A folder that its owner may look into, until this is dropped.
struct Ajar<'a>(&'a Path, Option<u32>);

impl<'a> Ajar<'a> {
    fn open(folder: &'a Path, mode: u32) -> io::Result<Self> {
        if mode & SEEN == SEEN {
            return Ok(Self(folder, None));
        }
        allow(folder, mode)?;
        Ok(Self(folder, Some(mode)))
    }
}

impl Drop for Ajar<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.1 {
            let _stays_open = fs::set_permissions(self.0, Permissions::from_mode(mode));
        }
    }
}

fn merge(from: &Path, to: &Path, (moved, there): (u32, u32)) -> io::Result<()> {
    allow(from, moved)?;
    allow(to, there)?;
    let placed = put_all(from, to);
    let wanted = (there & !MODE) | (moved & MODE);
    let set = match wanted == there | OWNED {
        true => Ok(()),
        false => fs::set_permissions(to, Permissions::from_mode(wanted)).map_err(|error| said(to, &error)),
    };
    placed.and(set)
}

/// A folder can be moved to another one only by who may change what is in it: its link to the folder above changes.
fn rename(from: &Path, to: &Path, moved: &Metadata) -> io::Result<()> {
    let closed = moved.is_dir() && mode(moved) & OWNED != OWNED;
    if closed {
        allow(from, mode(moved))?;
    }
    fs::rename(from, to).map_err(|error| said(to, &error))?;
    if closed {
        fs::set_permissions(to, moved.permissions()).map_err(|error| said(to, &error))?;
    }
    Ok(())
}

/// Lets the owner of a folder do with what is in it as they like.
fn allow(folder: &Path, mode: u32) -> io::Result<()> {
    if mode & OWNED == OWNED {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(mode | OWNED)).map_err(|error| said(folder, &error))
}

fn mode(of: &Metadata) -> u32 {
    of.permissions().mode() & 0o7777
}

fn said(at: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", at.display()))
}
