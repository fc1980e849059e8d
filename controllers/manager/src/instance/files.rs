//! Files that the controller reads and writes beside its state: policy, credentials, resolver files.

use std::path::{Path, PathBuf};

use evenkeel_api::name::InstanceId;
use evenkeel_engine::RegistryAuth;
use evenkeel_engine::reference::Reference;
use evenkeel_plan::instance::policy::HostPolicy;
use evenkeel_runtime::disk::StateDir;

/// The host's policy: what its file says, and what each file of the folder beside it says (`policy.d` beside
/// `policy.yaml`). No file: nothing is allowed; one that cannot be read allows nothing, and it is logged.
pub(super) fn policy(path: &Path) -> HostPolicy {
    let mut policy = HostPolicy::default();
    for file in std::iter::once(path.to_path_buf()).chain(beside(path)) {
        match read_policy(&file) {
            Ok(read) => policy.join(read),
            Err(why) => tracing::error!(path = %file.display(), why, "nothing of it is allowed"),
        }
    }
    policy
}

/// The files of the policy's folder, by their names.
fn beside(path: &Path) -> Vec<PathBuf> {
    let folder = path.with_extension("d");
    let files = std::fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

fn read_policy(path: &Path) -> Result<HostPolicy, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HostPolicy::default()),
        Err(error) => return Err(format!("the host policy cannot be read: {error}")),
    };
    serde_saphyr::from_str(&text).map_err(|error| format!("the host policy is not valid: {error}"))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_runtime::disk::MemoryDisk;

    use super::*;

    #[test]
    fn a_policy_that_is_not_there_or_empty_is_the_default_and_a_bad_one_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        assert_eq!(read_policy(&file), Ok(HostPolicy::default()));
        // A file of comments alone is one of an empty document.
        for text in ["", "\n", "  \n", "# namespaces:\n\n \t # shop: {privileged: true}\r\n#", "\t# none"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_policy(&file), Ok(HostPolicy::default()), "{text:?}");
        }
        std::fs::write(&file, "# for the shop\nnamespaces:\n  shop: {privileged: true}\n").unwrap();
        assert_ne!(read_policy(&file).unwrap(), HostPolicy::default());
        for (path, text, part) in
            [(&file, "nonsense: [", "not valid"), (&folder.path().into(), "", "be read")]
        {
            let _folder = std::fs::write(path, text);
            let why = read_policy(path).unwrap_err();
            assert!(why.contains(part), "{why}");
            assert_eq!(policy(path), HostPolicy::default());
        }
    }

    #[test]
    fn the_files_of_a_folder_add_up_and_a_bad_one_takes_nothing_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("policy.d")).unwrap();
        put("policy.yaml", "namespaces: {edge: {host_paths: [/a]}, shop: {engine_socket: true}}\n");
        put("policy.d/edge.yaml", "namespaces: {edge: {host_paths: ['/b:ro']}}\n");
        put("policy.d/bad.yaml", "namespaces: [");
        put("policy.d/edge.yaml.old", "namespaces: {edge: {privileged: true}}\n");
        let expected = "namespaces: {edge: {host_paths: [/a, '/b:ro']}, shop: {engine_socket: true}}";
        assert_eq!(policy(&file), serde_saphyr::from_str(expected).unwrap());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            policy(&file),
            serde_saphyr::from_str("namespaces: {edge: {host_paths: ['/b:ro']}}").unwrap()
        );
    }

    #[test]
    fn credentials_are_those_of_the_images_registry() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("registry.json");
        let user = |image| credentials(&file, image).map(|auth| auth.username);
        let image = "registry.lan:5000/web:1";
        assert_eq!(user(image), None);
        let config = r#"{"auths": {"registry.lan:5000": {"username": "shop", "password": "p"}}}"#;
        std::fs::write(&file, config).unwrap();
        assert_eq!(user(image).as_deref(), Some("shop"));
        assert_eq!(user("elsewhere.lan/web:1"), None);
        std::fs::write(&file, "nonsense").unwrap();
        assert_eq!(user(image), None);
    }

    #[test]
    fn a_mounted_file_is_written_when_it_says_something_else_and_goes_with_its_instance() {
        let dir = StateDir::on(Arc::new(MemoryDisk::new()), Path::new("/state"));
        let (files, id) = (ResolverFiles::new(&dir), "shop.web.1.1".parse().unwrap());
        let path = Path::new("instance/resolv/shop.web.1.1");
        assert_eq!(files.path(&id), Path::new("/state").join(path));
        let mut stamps = Vec::new();
        for text in ["one", "one", "two"] {
            files.write(&id, text).unwrap();
            assert_eq!(dir.disk().read(path).unwrap().as_deref(), Some(text.as_bytes()));
            stamps.push(dir.disk().stamp(path));
        }
        assert!(stamps[0] == stamps[1] && stamps[1] != stamps[2], "{stamps:?}");
        files.remove(&id);
        assert_eq!(dir.disk().read(path).unwrap(), None);
    }
}
