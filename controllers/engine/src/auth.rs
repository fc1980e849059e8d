//! Registry credentials, from a `config.json` as `docker login` writes it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::reference::DEFAULT_REGISTRY;
use crate::types::RegistryAuth;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Auth>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: Option<String>,
}

/// Why a `config.json` is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It is not JSON of that shape.
    #[error("the registry credentials are not a docker config.json")]
    Json(#[source] serde_json::Error),
    /// An entry is not the base64 of `user:password`.
    #[error("the credentials for {0} are not base64 of user:password")]
    Entry(String),
}

/// The credentials for `registry` (`host[:port]`) in the text of a `config.json`; none: ask without.
///
/// # Errors
/// See [`AuthError`].
pub fn credentials(config: &str, registry: &str) -> Result<Option<RegistryAuth>, AuthError> {
    let config: Config = serde_json::from_str(config).map_err(AuthError::Json)?;
    // Keys are hosts or URLs; the default registry has an old one of its own.
    let host = |key: &str| {
        let rest = key.trim_start_matches("https://").trim_start_matches("http://");
        let host = rest.split('/').next().unwrap_or(rest);
        if host == "index.docker.io" { DEFAULT_REGISTRY.to_owned() } else { host.to_owned() }
    };
    let Some((key, auth)) = config.auths.iter().find(|(key, _)| host(key) == registry) else {
        return Ok(None);
    };
    let bad = || AuthError::Entry(key.clone());
    let (username, password) = if auth.auth.is_empty() {
        (auth.username.clone(), auth.password.clone())
    } else {
        let text = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(bad)?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    };
    let identity_token = auth.identitytoken.clone();
    Ok(Some(RegistryAuth { username, password, identity_token, server: key.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_registry() {
        let config = r#"{"auths": {
            "registry.lan:5000": {"auth": "c2hvcDpzZWNyZXQ6MQ=="},
            "https://index.docker.io/v1/": {"username": "u", "password": "p"},
            "broken.lan": {"auth": "%%"}}, "credsStore": "x"}"#;
        let found = |registry| credentials(config, registry).unwrap().map(|a| (a.username, a.password));
        assert_eq!(found("registry.lan:5000"), Some(("shop".into(), "secret:1".into())));
        assert_eq!(found("docker.io"), Some(("u".into(), "p".into())));
        assert_eq!(found("other.lan"), None);
        assert!(credentials(config, "broken.lan").is_err());
        assert!(credentials("{", "x").is_err());
    }
}
