//! Where the store is: from flags, else the environment, else a config file.

use std::path::{Path, PathBuf};

use clap::Args;
use evenkeel_sessions::Identity;
use serde::Deserialize;

use crate::failure::Failure;
use crate::output::Format;

/// Under which heading help shows how the store is found.
const CLUSTER: &str = "Where etcd is";

/// Settings that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// etcd's client URLs, the nearest first; comma between them
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_ENDPOINTS", value_delimiter = ',', value_name = "URL")]
    pub endpoints: Vec<String>,
    /// Where evenkeel's keys begin
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_PREFIX", value_name = "KEY")]
    pub prefix: Option<String>,
    /// File with the certificate of the authority that etcd's certificate is from
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the client's certificate
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// File with the client's key
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Config file [default: ~/.config/evenkeel/config.yaml, then /etc/evenkeel/config.yaml]
    #[arg(long, global = true, help_heading = CLUSTER, env = "EVENKEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, display_order = 900)]
    pub output: Format,
}

/// What a config file may hold. Paths are relative to its folder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    endpoints: Vec<String>,
    prefix: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Where the store is, for certain.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// etcd's client URLs; never empty.
    pub endpoints: Vec<String>,
    /// Where our keys begin, without a slash at the end.
    pub prefix: String,
    /// The authority's certificate.
    pub ca: Option<PathBuf>,
    /// The client's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where keys begin when nobody says.
const PREFIX: &str = "/evenkeel/v1";

impl Settings {
    /// Flags and environment over the config file over the defaults.
    ///
    /// # Errors
    /// The config file cannot be read, or nothing says where etcd is.
    pub fn resolve(&self) -> Result<Resolved, Failure> {
        let file = self.file()?;
        let endpoints = if self.endpoints.is_empty() { file.endpoints } else { self.endpoints.clone() };
        if endpoints.is_empty() {
            return Err(Failure::new(
                "nothing says where etcd is: give --endpoints http://ADDRESS:2379, set EVENKEEL_ENDPOINTS, or write\n  \
                 `endpoints: [http://ADDRESS:2379]` to ~/.config/evenkeel/config.yaml",
            ));
        }
        let prefix = self.prefix.clone().or(file.prefix).unwrap_or_else(|| PREFIX.to_owned());
        Ok(Resolved {
            endpoints,
            prefix: prefix.trim_end_matches('/').to_owned(),
            ca: self.ca.clone().or(file.ca),
            identity: self.cert.clone().or(file.cert).zip(self.key.clone().or(file.key)),
        })
    }

    fn file(&self) -> Result<File, Failure> {
        let (path, must_exist) = match &self.config {
            Some(path) => (path.clone(), true),
            None => match default_files().into_iter().find(|path| path.exists()) {
                Some(path) => (path, false),
                None => return Ok(File::default()),
            },
        };
        read(&path, must_exist)
    }
}

/// Who we are, where etcd asks for that: with certificates of both sides there.
///
/// # Errors
/// The config file cannot be read, or nothing says where etcd is.
pub fn identity(settings: &Settings) -> Result<Option<Identity>, Failure> {
    let resolved = settings.resolve()?;
    Ok(resolved.ca.zip(resolved.identity).map(|(ca, (cert, key))| Identity { ca, cert, key }))
}

/// Where a person's own settings are; none if nothing says who that is.
pub fn own_folder() -> Option<PathBuf> {
    std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))
        .map(|folder| folder.join("evenkeel"))
}

fn default_files() -> Vec<PathBuf> {
    own_folder()
        .into_iter()
        .chain([PathBuf::from("/etc/evenkeel")])
        .map(|folder| folder.join("config.yaml"))
        .collect()
}

fn read(path: &Path, must_exist: bool) -> Result<File, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(File::default());
        }
        Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
    };
    let mut file: File = serde_saphyr::from_str(&text)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    // Named beside it, so that a folder can be handed over as it is.
    let folder = path.parent().unwrap_or(Path::new(""));
    for named in [&mut file.ca, &mut file.cert, &mut file.key].into_iter().flatten() {
        *named = folder.join(&*named);
    }
    Ok(file)
}
