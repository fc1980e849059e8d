//! Files that the controller reads and writes beside its state: policy, credentials, resolver files.

use std::path::{Path, PathBuf};

use evenkeel_api::name::InstanceId;
use evenkeel_engine::RegistryAuth;
use evenkeel_engine::reference::Reference;
use evenkeel_plan::instance::policy::HostPolicy;
use evenkeel_runtime::disk::StateDir;

/// The host's policy. No file: nothing is allowed; one that cannot be read: the same, and it is logged.
pub(super) fn policy(path: &Path) -> HostPolicy {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return HostPolicy::default(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the host policy cannot be read: nothing is allowed");
            return HostPolicy::default();
        }
    };
    // A file of comments alone is no document.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return HostPolicy::default();
    }
    serde_saphyr::from_str(&text).unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "the host policy is not valid: nothing is allowed");
        HostPolicy::default()
    })
}

/// This host's credentials for the registry of an image.
pub(super) fn credentials(path: &Path, image: &str) -> Option<RegistryAuth> {
    let text = std::fs::read_to_string(path).ok()?;
    let registry = Reference::parse(image).registry;
    evenkeel_engine::auth::credentials(&text, &registry).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "registry credentials are not used");
        None
    })
}

/// Writes a file that is mounted into a container, in place: a file put over it would not be seen there. Not
/// at all where it says the same.
pub(super) fn write_in_place(dir: &StateDir, file: &Path, text: &str) -> std::io::Result<()> {
    if dir.disk().read(file).is_ok_and(|had| had.is_some_and(|had| had == text.as_bytes())) {
        return Ok(());
    }
    dir.disk().overwrite(file, text.as_bytes())
}

/// Resolver files of this host's instances.
pub(super) struct ResolverFiles(StateDir);

impl ResolverFiles {
    pub(super) fn new(state_dir: &StateDir) -> Self {
        Self(state_dir.clone())
    }

    /// As the host sees it: containers mount it.
    pub(super) fn path(&self, id: &InstanceId) -> PathBuf {
        self.0.path().join(file(id))
    }

    /// Writes an instance's file.
    pub(super) fn write(&self, id: &InstanceId, text: &str) -> std::io::Result<()> {
        write_in_place(&self.0, &file(id), text)
    }

    pub(super) fn remove(&self, id: &InstanceId) {
        if let Err(error) = self.0.disk().remove(&file(id)) {
            tracing::debug!(instance = %id, %error, "its resolver file stays; it costs nothing");
        }
    }
}

fn file(id: &InstanceId) -> PathBuf {
    ["instance", "resolv", &id.to_string()].iter().collect()
}
