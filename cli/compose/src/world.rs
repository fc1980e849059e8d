//! What lies outside of this crate: files, and the environment of whoever imports.

use std::path::{Component, Path, PathBuf};

/// Where files and variables come from.
pub trait World {
    /// The text of a file.
    ///
    /// # Errors
    /// Why there is none, in a few words.
    fn read(&self, path: &Path) -> Result<String, NoFile>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// The absolute path of the folder that relative paths begin at.
    fn directory(&self) -> PathBuf;
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoFile {
    /// There is none.
    Missing,
    /// There is one, and this is wrong with it.
    Unreadable(String),
}

impl std::fmt::Display for NoFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoFile::Missing => f.write_str("there is no such file"),
            NoFile::Unreadable(why) => f.write_str(why),
        }
    }
}

/// `path` below `base`, without `.` and `..`.
pub(crate) fn join(base: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(joined.components().next_back(), Some(Component::Normal(_))) => {
                joined.pop();
            }
            // Nothing lies above the root.
            Component::ParentDir if joined.has_root() => {}
            part => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_dots() {
        for (base, path, joined) in [
            ("/srv/shop", "./data", "/srv/shop/data"),
            ("/srv/shop", "../x/./y", "/srv/x/y"),
            ("/", "../../x", "/x"),
            ("shop", "../../x", "../x"),
            ("shop", "/etc/x", "/etc/x"),
            ("", ".", ""),
        ] {
            assert_eq!(join(Path::new(base), path), Path::new(joined), "{base} {path}");
        }
    }
}
