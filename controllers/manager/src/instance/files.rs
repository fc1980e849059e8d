//! Files that the controller reads and writes beside its state: policy, credentials, resolver files.

use std::io::Write;
use std::path::{Path, PathBuf};

use evenkeel_api::name::InstanceId;
use evenkeel_engine::RegistryAuth;
use evenkeel_engine::reference::Reference;
use evenkeel_plan::instance::policy::HostPolicy;

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

/// Resolver files of this host's instances.
pub(super) struct ResolverFiles(PathBuf);

impl ResolverFiles {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("instance").join("resolv"))
    }

    pub(super) fn path(&self, id: &InstanceId) -> PathBuf {
        self.0.join(id.to_string())
    }

    /// Writes an instance's file, in place: a file put over it would not be seen in the container. Not at
    /// all where it says the same.
    pub(super) fn write(&self, id: &InstanceId, text: &str) -> std::io::Result<()> {
        let path = self.path(id);
        if std::fs::read_to_string(&path).is_ok_and(|had| had == text) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.0)?;
        let mut file = std::fs::File::options().create(true).truncate(false).write(true).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }

    pub(super) fn remove(&self, id: &InstanceId) {
        // One that stays costs nothing.
        let _gone_already = std::fs::remove_file(self.path(id));
    }
}
