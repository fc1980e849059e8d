//! Image references, as far as they must be understood: which registry, which repository.

/// An image reference, taken apart: `[registry/]repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry's host and port; `docker.io` where none is written.
    pub registry: String,
    /// The repository in it, with `library/` for the registry's official ones.
    pub repository: String,
    /// The tag, if one is written.
    pub tag: Option<String>,
    /// The digest, if one is written.
    pub digest: Option<String>,
}

/// The registry that a reference without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";

impl Reference {
    /// Takes a reference apart. Never fails: whether it is good is the engine's to say.
    pub fn parse(text: &str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it, a registry's port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_owned(), rest.to_owned())
            }
            _ => (DEFAULT_REGISTRY.to_owned(), path.to_owned()),
        };
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY.to_owned() } else { registry };
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        Self { registry, repository, tag, digest }
    }

    /// Whether both name the same repository.
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

/// `reference` with its tag exchanged for `digest`: the very image, whatever the tag means today.
pub fn by_digest(reference: &str, digest: &str) -> String {
    let rest = reference.split_once('@').map_or(reference, |(rest, _)| rest);
    let path = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => rest,
    };
    format!("{path}@{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let table = [
            ("nginx", "docker.io", "library/nginx", None),
            ("nginx:1.27", "docker.io", "library/nginx", Some("1.27")),
            ("grafana/grafana", "docker.io", "grafana/grafana", None),
            ("registry.lan:5000/shop/web:1.4", "registry.lan:5000", "shop/web", Some("1.4")),
            ("registry.lan:5000/web", "registry.lan:5000", "web", None),
            ("localhost/web", "localhost", "web", None),
        ];
        for (text, registry, repository, tag) in table {
            let got = Reference::parse(text);
            assert_eq!((got.registry.as_str(), got.repository.as_str()), (registry, repository), "{text}");
            assert_eq!(got.tag.as_deref(), tag, "{text}");
        }
        assert_eq!(by_digest("registry.lan:5000/web:1", "sha256:ab"), "registry.lan:5000/web@sha256:ab");
        assert_eq!(by_digest("registry.lan:5000/web", "sha256:ab"), "registry.lan:5000/web@sha256:ab");
    }
}
