//! Certificates. A cluster has two authorities: one for whoever talks to etcd and for etcd's answers, one for
//! the members of etcd among each other, so that no host's or person's certificate makes anyone a member.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an authority's own certificate holds.
const AUTHORITY_HOLDS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long what it signs holds.
pub const CERTIFICATE_HOLDS: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate and its private key, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key: a secret.
    pub key: String,
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To ask; etcd knows the user by the name in it.
    Client,
    /// To answer.
    Server,
    /// Both, among equals.
    Peer,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The common name; of a client, the user's name in etcd. Empty: none.
    pub name: String,
    /// Where it answers.
    pub addresses: Vec<IpAddr>,
    /// What for.
    pub usage: Use,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The authority's key is none.
    #[error("the key of the authority {name} cannot be read")]
    Key {
        /// Which authority.
        name: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate cannot be made.
    #[error("no certificate for '{name}' can be made")]
    Issue {
        /// Whom it is for.
        name: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
}

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate, and the key that signs.
    pub pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one. `now` is the time since 1970.
    ///
    /// # Errors
    /// No key can be made.
    pub fn create(name: &str, now: Duration) -> Result<Self, PkiError> {
        let failed = |source| PkiError::Issue { name: name.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(name);
        hold(&mut params, now, AUTHORITY_HOLDS);
        let cert = params.self_signed(&key).map_err(failed)?.pem();
        let pair = Pair { cert, key: key.serialize_pem() };
        Ok(Self { pair, issuer: Issuer::new(params, key) })
    }

    /// The one of that name, from what [`Authority::create`] made.
    ///
    /// # Errors
    /// The key is none.
    pub fn restore(name: &str, pair: Pair) -> Result<Self, PkiError> {
        let failed = |source| PkiError::Key { name: name.to_owned(), source };
        let key = KeyPair::from_pem(&pair.key).map_err(failed)?;
        Ok(Self { issuer: Issuer::new(params(name), key), pair })
    }

    /// A new certificate, and its key. `now` is the time since 1970.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn issue(&self, subject: &Subject, now: Duration) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Issue { name: subject.name.clone(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if !subject.name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, subject.name.as_str());
        }
        params.subject_alt_names = subject.addresses.iter().map(|ip| SanType::IpAddress(*ip)).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match subject.usage {
            Use::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Use::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Use::Peer => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        hold(&mut params, now, CERTIFICATE_HOLDS);
        let key = KeyPair::generate().map_err(failed)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Pair { cert, key: key.serialize_pem() })
    }
}

/// What an authority's certificate says of itself, the same each time: what it signs must name it.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// From a day before now on: clocks of hosts differ.
fn hold(params: &mut CertificateParams, now: Duration, long: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + long;
}
