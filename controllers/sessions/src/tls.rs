//! Certificates, where the cluster has them: those that hosts and people show etcd, and no others. A host answers
//! with the certificate by which it asks etcd, so no certificate needs to be good for answering; whoever calls looks
//! at the host's name in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_api::key::Controller;
use evenkeel_api::name::HostName;
use evenkeel_api::user::{Part, User};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, BERReader, BERReaderSeq, Tag};

/// The certificates that are shown to etcd, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who signs everybody's.
    pub ca: PathBuf,
    /// Our own.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Certificates that are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// They do not fit together.
    #[error("the certificate {cert} cannot be used")]
    Use {
        /// Which.
        cert: PathBuf,
        /// Why not.
        #[source]
        source: Error,
    },
}

/// What is read of an identity.
struct Loaded {
    everybody: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The name in our own certificate.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn name(&self) -> Result<String, TlsError> {
        let chain = certificates(&self.cert)?;
        chain.first().and_then(common_name).ok_or_else(|| TlsError::File {
            path: self.cert.clone(),
            why: "there is no name in its certificate".to_owned(),
        })
    }

    /// For who answers: whoever calls must show a certificate of the same authority.
    pub(crate) fn answering(&self) -> Result<ServerConfig, TlsError> {
        let Loaded { everybody, chain, key } = self.load()?;
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_client_cert_verifier(everybody).with_single_cert(chain, key))
            .map_err(|source| self.of_no_use(source))
    }

    /// For who calls `host`, whose users are of that generation.
    pub(crate) fn calling(&self, host: &HostName, generation: u32) -> Result<ClientConfig, TlsError> {
        let Loaded { everybody, chain, key } = self.load()?;
        let verifier = Arc::new(HostVerifier { everybody, host: host.clone(), generation });
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_client_auth_cert(chain, key)
            })
            .map_err(|source| self.of_no_use(source))
    }

    fn load(&self) -> Result<Loaded, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.ca)? {
            roots.add(root).map_err(|source| TlsError::Use { cert: self.ca.clone(), source })?;
        }
        let everybody = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| TlsError::File { path: self.ca.clone(), why: error.to_string() })?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::File { path: self.key.clone(), why: error.to_string() })?;
        Ok(Loaded { everybody, chain: certificates(&self.cert)?, key })
    }

    fn of_no_use(&self, source: Error) -> TlsError {
        TlsError::Use { cert: self.cert.clone(), source }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: String| TlsError::File { path: path.to_owned(), why };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if all.is_empty() { Err(failed("it holds no certificate".to_owned())) } else { Ok(all) }
}

/// Lets one host answer: its certificate is of the authority that everybody's is of, and bears its name.
#[derive(Debug)]
struct HostVerifier {
    everybody: Arc<dyn ClientCertVerifier>,
    host: HostName,
    generation: u32,
}

impl HostVerifier {
    /// The names that certificates of the host's instance controller have: of all its controllers, or of this one
    /// alone; or, where somebody makes certificates of their own, just the host's.
    fn is_named_right(&self, name: &str) -> bool {
        match name.parse() {
            Ok(User::Host { host, generation, part: Part::All | Part::One(Controller::Instance) }) => {
                host == self.host && generation == self.generation
            }
            Ok(_) => false,
            Err(_) => self.generation == 0 && name == self.host.as_str(),
        }
    }
}

impl ServerCertVerifier for HostVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.everybody.verify_client_cert(end_entity, intermediates, now)?;
        match common_name(end_entity) {
            Some(name) if self.is_named_right(&name) => Ok(ServerCertVerified::assertion()),
            name => Err(Error::General(format!(
                "who answers is {}, not host {}",
                name.unwrap_or_else(|| "nobody by name".to_owned()),
                self.host
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.everybody.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.everybody.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.everybody.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// What went wrong between two ends, for people.
pub(crate) fn meaning(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::AlertReceived(alert)) => format!("the host does not accept this certificate ({alert:?})"),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the host's certificate has ended: see `evenkeel doctor`".to_owned(),
        Some(Error::InvalidMessage(_)) => "the host speaks without certificates there".to_owned(),
        _ => error.to_string(),
    }
}

/// The common name of whom a certificate is for, as RFC 5280 (4.1) has it; whether it is genuine is found out
/// elsewhere.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let name = yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|reader| {
            let name = reader.next().read_sequence(|reader| {
                let _version =
                    reader.read_optional(|reader| reader.read_tagged(Tag::context(0), |it| it.read_der()))?;
                // Number, algorithm, issuer, and how long it holds.
                for _ in 0..4 {
                    reader.next().read_der()?;
                }
                let name = last_common_name(reader.next())?;
                rest(reader)?;
                Ok(name)
            })?;
            rest(reader)?;
            Ok(name)
        })
    });
    name.ok().flatten().filter(|name| !name.is_empty())
}

fn rest(reader: &mut BERReaderSeq<'_, '_>) -> ASN1Result<()> {
    while reader.read_optional(|reader| reader.read_der())?.is_some() {}
    Ok(())
}

fn last_common_name(reader: BERReader<'_, '_>) -> ASN1Result<Option<String>> {
    let common = ObjectIdentifier::from_slice(&[2, 5, 4, 3]);
    let mut name = None;
    reader.read_sequence_of(|reader| {
        reader.read_set_of(|reader| {
            reader.read_sequence(|reader| {
                let which = reader.next().read_oid()?;
                let value = reader.next().read_tagged_der()?;
                if which == common {
                    name = String::from_utf8(value.value().to_vec()).ok();
                }
                Ok(())
            })
        })
    })?;
    Ok(name)
}
