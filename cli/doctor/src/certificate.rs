//! What a certificate says of itself: whose it is, and until when it holds. Whether it is genuine is for those to
//! find out who are shown it.

use std::time::Duration;

use yasna::models::ObjectIdentifier;
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, Tag};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The common name of whom it is for; empty: it has none.
    pub name: String,
    /// Until when it holds, since 1970.
    pub until: Duration,
}

/// A text that is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NoCertificate {
    /// It is no PEM.
    #[error("it is no PEM file")]
    Pem(#[source] pem::PemError),
    /// It is PEM, of something else.
    #[error("it holds no certificate")]
    Other,
    /// What stands in it cannot be read.
    #[error("the certificate in it cannot be read")]
    Der(#[source] ASN1Error),
}

/// Reads the first certificate of a PEM file, as programs that show one do.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn read(text: &str) -> Result<Certificate, NoCertificate> {
    let blocks = pem::parse_many(text).map_err(NoCertificate::Pem)?;
    let block = blocks.iter().find(|block| block.tag() == "CERTIFICATE").ok_or(NoCertificate::Other)?;
    yasna::parse_der(block.contents(), certificate).map_err(NoCertificate::Der)
}

/// RFC 5280, 4.1.
fn certificate(reader: BERReader<'_, '_>) -> ASN1Result<Certificate> {
    reader.read_sequence(|reader| {
        let found = reader.next().read_sequence(|reader| {
            let _version =
                reader.read_optional(|reader| reader.read_tagged(Tag::context(0), |it| it.read_der()))?;
            let _serial = reader.next().read_der()?;
            let _algorithm = reader.next().read_der()?;
            let _issuer = reader.next().read_der()?;
            let until = reader.next().read_sequence(|reader| {
                let _from = reader.next().read_der()?;
                time(reader.next())
            })?;
            let name = reader.next().read_sequence_of_names()?;
            rest(reader)?;
            Ok(Certificate { name, until })
        })?;
        rest(reader)?;
        Ok(found)
    })
}

fn rest(reader: &mut BERReaderSeq<'_, '_>) -> ASN1Result<()> {
    while reader.read_optional(|reader| reader.read_der())?.is_some() {}
    Ok(())
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<Duration> {
    let seconds = match reader.lookahead_tag()? {
        TAG_UTCTIME => reader.read_utctime()?.datetime().unix_timestamp(),
        TAG_GENERALIZEDTIME => reader.read_generalized_time()?.datetime().unix_timestamp(),
        _ => return Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    };
    // Before 1970 is as good as then: it is over.
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

trait Names {
    /// The common name of a distinguished name.
    fn read_sequence_of_names(self) -> ASN1Result<String>;
}

impl Names for BERReader<'_, '_> {
    fn read_sequence_of_names(self) -> ASN1Result<String> {
        let common = ObjectIdentifier::from_slice(&[2, 5, 4, 3]);
        let mut name = String::new();
        self.read_sequence_of(|reader| {
            reader.read_set_of(|reader| {
                reader.read_sequence(|reader| {
                    let which = reader.next().read_oid()?;
                    let value = reader.next().read_tagged_der()?;
                    if which == common {
                        name = String::from_utf8_lossy(value.value()).into_owned();
                    }
                    Ok(())
                })
            })
        })?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::pki::CERTIFICATE_HOLDS;
    use evenkeel_cluster::{Authority, Subject, Use};

    use super::*;

    #[test]
    fn certificates_tell_whose_they_are_and_until_when_they_hold() {
        // The second one is written in the form for years from 2050 on.
        for now in [1_795_982_400, 2_600_000_000].map(Duration::from_secs) {
            let authority = Authority::create("a", now).unwrap();
            for (name, addresses) in [("evenkeel.host.h1", vec![]), ("", vec!["10.0.0.1".parse().unwrap()])] {
                let subject = Subject { name: name.to_owned(), addresses, usage: Use::Peer };
                let found = read(&authority.issue(&subject, now).unwrap().cert).unwrap();
                let expected = Certificate { name: name.to_owned(), until: now + CERTIFICATE_HOLDS };
                assert_eq!(found, expected);
            }
            let own = read(&authority.pair.cert).unwrap();
            assert_eq!((own.name.as_str(), own.until > now + 9 * CERTIFICATE_HOLDS), ("a", true));
            // A key before it, as some programs write them, is passed over.
            let both = format!("{}{}", authority.pair.key, authority.pair.cert);
            assert_eq!(read(&both).unwrap(), own);
            assert!(matches!(read(&authority.pair.key), Err(NoCertificate::Other)));
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(matches!(read("x"), Err(NoCertificate::Other)));
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(matches!(read(cut), Err(NoCertificate::Der(_))));
        assert!(matches!(
            read("-----BEGIN CERTIFICATE-----\n"),
            Err(NoCertificate::Other | NoCertificate::Pem(_))
        ));
    }
}
