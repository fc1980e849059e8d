//! How to reach etcd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

/// The prefix of all keys unless another is configured.
pub const DEFAULT_PREFIX: &str = "/evenkeel/v1";

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Like `http://10.0.0.1:2379` or `https://…`; the nearest member first.
    pub endpoints: Vec<String>,
    /// What stands before every key, without a `/` at its end.
    pub prefix: String,
    /// For `https`.
    pub tls: Option<EtcdTls>,
    /// Name and password. Every login costs etcd about 100 ms of CPU: certificates are better.
    pub user: Option<(String, String)>,
    /// What each member is given for an answer before the next one is asked.
    pub attempt: Duration,
}

/// The certificates for etcd, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// Who signs etcd's certificates.
    pub ca: PathBuf,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in etcd's certificates, if it is not that of the endpoint.
    pub domain: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to connect to.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// A certificate or key cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl EtcdConfig {
    /// Endpoints alone: no TLS, no login, the default prefix.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: DEFAULT_PREFIX.to_owned(),
            tls: None,
            user: None,
            attempt: Duration::from_secs(2),
        }
    }

    /// What each member's connection is made with. `attempt`: how long one call may take.
    pub(crate) fn options(&self, attempt: Duration) -> Result<ConnectOptions, ConfigError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(attempt / 2)
            // Streams on a member that is gone without a word end only by this. Not more often than etcd
            // tolerates from an idle connection (5 s), or it hangs up.
            .with_keep_alive(Duration::from_secs(6), Duration::from_secs(2))
            .with_tcp_keepalive(Duration::from_secs(6))
            // A member without a leader says so at once instead of letting us wait.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.options()?);
        }
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        Ok(options)
    }
}

impl EtcdTls {
    fn options(&self) -> Result<TlsOptions, ConfigError> {
        let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        if let Some((certificate, key)) = &self.identity {
            options = options.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(domain) = &self.domain {
            options = options.domain_name(domain);
        }
        Ok(options)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}
