//! Which copies a person means: by a copy's name, or by its service's.

use std::sync::Arc;

use evenkeel_api::key::prefix;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, Namespace, ServiceId};
use evenkeel_api::record::Endpoints;
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::{snapshot, words};

/// What was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One copy.
    Copy(InstanceId),
    /// A service.
    Service(ServiceId),
}

impl Target {
    /// The one that a word means: `shop.web.1.n` or `shop/web`, or `web` in `namespace`.
    ///
    /// # Errors
    /// It is no name, or needs a namespace.
    pub fn read(word: &str, namespace: Option<&Namespace>) -> Result<Self, Failure> {
        if let Ok(copy) = word.parse() {
            return Ok(Self::Copy(copy));
        }
        match words::object(Kind::Service, word, namespace)? {
            ObjectRef::Service(service) => Ok(Self::Service(service)),
            other => Err(Failure::new(format!("{other} is no service"))),
        }
    }

    /// Its service.
    pub fn service(&self) -> &ServiceId {
        match self {
            Self::Copy(copy) => &copy.service,
            Self::Service(service) => service,
        }
    }

    /// Whether a copy is meant.
    pub fn means(&self, copy: &InstanceId) -> bool {
        match self {
            Self::Copy(meant) => meant == copy,
            Self::Service(service) => copy.service == *service,
        }
    }

    /// The copy, with its host; of a service, the first that is ready.
    ///
    /// # Errors
    /// There is none, or none is ready; or the store does not answer.
    pub async fn one(&self, store: &Arc<dyn Store>) -> Result<(InstanceId, HostName), Failure> {
        let copies = snapshot::copies(store, Some(self.service())).await?;
        let found = match self {
            Self::Copy(wanted) => copies.iter().find(|copy| copy.id == *wanted),
            Self::Service(service) => {
                let ready = ready(store, service).await?;
                copies.iter().find(|copy| copy.host_alive && ready.contains(&copy.id))
            }
        };
        if let Some(copy) = found {
            return Ok((copy.id.clone(), copy.host.clone()));
        }
        let names: Vec<String> = copies.iter().map(|copy| copy.id.to_string()).collect();
        let service = self.service();
        Err(Failure::new(match (self, names.as_slice()) {
            (_, []) => format!("there is no copy of {service}: see `evenkeel explain {service}`"),
            (Self::Copy(copy), names) => format!("there is no copy {copy}; there are {}", names.join(", ")),
            (Self::Service(_), names) => format!(
                "no copy of {service} is ready: name one of {}, or see `evenkeel explain {service}`",
                names.join(", ")
            ),
        }))
    }
}

/// The copies that names lead to, in their order.
async fn ready(store: &Arc<dyn Store>, service: &ServiceId) -> Result<Vec<InstanceId>, Failure> {
    let shards = snapshot::list::<Endpoints>(store, &prefix::endpoints_of(service)).await?;
    let all = shards.into_values().flat_map(|found| found.value.endpoints);
    Ok(all.filter(|endpoint| endpoint.ready).map(|endpoint| endpoint.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_copy_or_a_service() {
        let shop: Namespace = "shop".parse().unwrap();
        let copy: InstanceId = "shop.web.1.n".parse().unwrap();
        assert_eq!(Target::read("shop.web.1.n", None).unwrap(), Target::Copy(copy.clone()));
        let service = Target::Service(copy.service.clone());
        assert_eq!(Target::read("shop/web", None).unwrap(), service);
        assert_eq!(Target::read("web", Some(&shop)).unwrap(), service);
        assert!(service.means(&copy) && !service.means(&"shop.api.1.n".parse().unwrap()));
        for wrong in ["web", "a/b/c", ""] {
            assert!(Target::read(wrong, None).is_err(), "{wrong}");
        }
    }
}
