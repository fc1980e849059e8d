//! The machine's own disk. inotify tells of changes; where it is not to be had, readers look five times a
//! second.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::key::Controller;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::dir::{Disk, DiskWatch, Held, Refused, Stamp};

const POLL: Duration = Duration::from_millis(200);
/// With inotify too, the files are looked at now and then: an event may be lost in an overflow.
const RECHECK: Duration = Duration::from_secs(10);

/// Files below a folder.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }
}

fn on<T>(verb: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Refused> {
    result.map_err(|source| Refused { verb, path: path.to_owned(), source })
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

impl Disk for Files {
    fn read(&self, file: &Path) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(file)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), Refused> {
        let path = self.0.join(file);
        let tmp = path.with_extension("tmp");
        let write = || -> io::Result<()> {
            let mut file = File::create(&tmp)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        let folder = folder(&path);
        on("create", folder, std::fs::create_dir_all(folder))?;
        on("write", &tmp, write())?;
        on("replace", &path, std::fs::rename(&tmp, &path))?;
        // The rename itself must outlive a power cut, too.
        on("flush", folder, File::open(folder).and_then(|folder| folder.sync_all()))
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(file);
        std::fs::create_dir_all(folder(&path))?;
        let mut file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self, file: &Path) -> Result<Option<Held>, Refused> {
        let path = self.0.join(file);
        on("create", folder(&path), std::fs::create_dir_all(folder(&path)))?;
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        match Flock::lock(on("open", &path, options)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Box::new(lock))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => on("lock", &path, Err(errno.into())),
        }
    }

    /// A replacement is a rename, so the inode changes.
    fn stamp(&self, file: &Path) -> Option<Stamp> {
        let meta = std::fs::metadata(self.0.join(file)).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
    }

    fn watch(&self) -> Box<dyn DiskWatch> {
        let mut events = Events::new(&self.0);
        events.watch_folders(&self.0);
        Box::new(Watching { root: self.0.clone(), events })
    }

    fn is_slow(&self) -> bool {
        true
    }
}

struct Watching {
    root: PathBuf,
    events: Events,
}

#[async_trait]
impl DiskWatch for Watching {
    async fn changed(&mut self) {
        self.events.wait().await;
        self.events.watch_folders(&self.root);
    }
}

enum Events {
    Inotify { fd: AsyncFd<Fd>, watched: BTreeMap<Controller, WatchDescriptor> },
    Poll,
}

impl Events {
    fn new(state_dir: &Path) -> Self {
        #[expect(deprecated, reason = "its successor is unsafe; `Fd` owns what it lends, so this is sound")]
        let open = || -> io::Result<AsyncFd<Fd>> {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            inotify.add_watch(state_dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
            AsyncFd::with_interest(Fd(inotify), Interest::READABLE)
        };
        match open() {
            Ok(fd) => Events::Inotify { fd, watched: BTreeMap::new() },
            Err(error) => {
                tracing::warn!(%error, "inotify is not to be had; siblings are looked at every 200 ms");
                Events::Poll
            }
        }
    }

    /// Folders appear when their controllers first start.
    fn watch_folders(&mut self, state_dir: &Path) {
        let Events::Inotify { fd, watched } = self else { return };
        for controller in Controller::ALL {
            let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
            // Adding a watch anew is harmless, and gives the new folder where one was replaced.
            if let Ok(wd) = fd.get_ref().0.add_watch(&state_dir.join(controller.as_str()), flags) {
                watched.insert(controller, wd);
            }
        }
    }

    async fn wait(&mut self) {
        let Events::Inotify { fd, .. } = self else { return tokio::time::sleep(POLL).await };
        tokio::select! { biased;
            ready = fd.readable() => match ready {
                // Which file it was does not matter: the caller looks at them all.
                Ok(mut guard) => {
                    while fd.get_ref().0.read_events().is_ok() {}
                    guard.clear_ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "inotify failed; siblings are looked at every 200 ms");
                    *self = Events::Poll;
                }
            },
            () = tokio::time::sleep(RECHECK) => {}
        }
    }
}

/// What `AsyncFd` wants of a descriptor.
struct Fd(Inotify);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
