//! How full disks are, and how fast one keeps what is written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use evenkeel_doctor::facts::{Asked, Disk, Room, Syncs};
use nix::sys::statvfs::statvfs;
use tokio::time::Instant;

/// What etcd writes at once: a page of its log, and a bit.
const PIECE: [u8; 8 << 10] = [0; 8 << 10];
/// How many writes are tried, and for how long at most.
const TRIES: usize = 300;
const LONG: Duration = Duration::from_secs(3);
/// Fewer tell nothing of the slowest of a hundred.
const FEWEST: usize = 20;

/// How full the disk is that holds a folder.
pub fn disk(of: &str, path: &Path) -> Disk {
    Disk { of: of.to_owned(), path: path.display().to_string(), room: room(path) }
}

fn room(path: &Path) -> Asked<Room> {
    let found = statvfs(path).map_err(|error| error.to_string())?;
    // Their width depends on the machine.
    #[allow(clippy::useless_conversion)]
    let number = u64::from;
    let block = number(found.fragment_size());
    Ok(Room {
        bytes: number(found.blocks()).saturating_mul(block),
        free: number(found.blocks_available()).saturating_mul(block),
        files: number(found.files()),
        files_free: number(found.files_available()),
    })
}

/// Writes small pieces into a folder, and waits for the disk each time, as etcd does. What was written is gone
/// afterwards, also if this process ends in the middle.
///
/// # Errors
/// The folder cannot be written to, or the disk is so slow that nothing can be said.
pub fn syncs(folder: &Path) -> Asked<Syncs> {
    let path = folder.join(format!(".evenkeel-doctor-{}", std::process::id()));
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(told)?;
    // Without a name it goes with the process, whatever ends it.
    std::fs::remove_file(&path).map_err(told)?;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(TRIES);
    while times.len() < TRIES && begun.elapsed() < LONG {
        let start = Instant::now();
        file.write_all(&PIECE).and_then(|()| file.sync_data()).map_err(told)?;
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    if times.len() < FEWEST {
        return Err(format!("{} writes took {} s: that disk is far too slow", times.len(), LONG.as_secs()));
    }
    Ok(summary(times))
}

fn summary(mut times: Vec<u64>) -> Syncs {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    };
    Syncs { count: times.len() as u64, half: at(50), most: at(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_is_left_away_and_no_more() {
        for (times, half, most) in [
            ((1..=100).collect::<Vec<_>>(), 50, 99),
            ((1..=200).rev().collect(), 100, 198),
            ((1..=20).collect(), 10, 20),
        ] {
            let count = times.len() as u64;
            assert_eq!(summary(times), Syncs { count, half, most });
        }
    }

    #[test]
    fn a_folder_is_written_to_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let found = syncs(folder.path()).unwrap();
        assert!(found.count >= FEWEST as u64 && found.half <= found.most && found.most > 0, "{found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = folder.path().join("x");
        assert!(syncs(&missing).is_err_and(|why| why.contains("/x/")));
        assert!(room(folder.path()).is_ok_and(|room| room.bytes >= room.free && room.bytes > 0));
        assert!(room(&missing).is_err());
    }
}
