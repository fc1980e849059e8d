//! Which copies a person means: by a copy's name, or by its service's.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::key::prefix;
use evenkeel_api::meta::{Kind, ObjectRef};
use evenkeel_api::name::{HostName, InstanceId, Namespace, ServiceId};
use evenkeel_api::record::Endpoints;
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::output::complain;
use crate::snapshot::Copy;
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

    /// The copy, with its host; of a service, the first that is ready. Where none is, the first that runs, which is said
    /// on stderr: who looks into a service that fails wants just that one.
    ///
    /// # Errors
    /// There is none, or none runs; or the store does not answer.
    pub async fn one(&self, store: &Arc<dyn Store>) -> Result<(InstanceId, HostName), Failure> {
        let (copy, host, ready) = self.find(store).await?;
        if !ready {
            complain!("no copy of {} is ready: this is {copy}, which runs", self.service());
        }
        Ok((copy, host))
    }

    /// The one that [`Self::one`] finds, without a word.
    ///
    /// # Errors
    /// Those of [`Self::one`].
    pub async fn silently(&self, store: &Arc<dyn Store>) -> Result<(InstanceId, HostName), Failure> {
        let (copy, host, _) = self.find(store).await?;
        Ok((copy, host))
    }

    /// With whether it may be taken without a word: it was named, or is ready.
    async fn find(&self, store: &Arc<dyn Store>) -> Result<(InstanceId, HostName, bool), Failure> {
        let copies = snapshot::copies(store, Some(self.service())).await?;
        let found = match self {
            Self::Copy(wanted) => copies.iter().find(|copy| copy.id == *wanted).map(|copy| (copy, true)),
            Self::Service(service) => first(&copies, &running(store, service).await?),
        };
        if let Some((copy, ready)) = found {
            return Ok((copy.id.clone(), copy.host.clone(), ready));
        }
        let names: Vec<String> = copies.iter().map(|copy| copy.id.to_string()).collect();
        let service = self.service();
        Err(Failure::new(match (self, names.as_slice()) {
            (_, []) => format!("there is no copy of {service}: see `evenkeel explain {service}`"),
            (Self::Copy(copy), names) => format!("there is no copy {copy}; there are {}", names.join(", ")),
            (Self::Service(_), names) => format!(
                "no copy of {service} runs: name one of {}, or see `evenkeel explain {service}`",
                names.join(", ")
            ),
        }))
    }
}

/// The first that is ready, or else the first that runs; with whether it is ready.
fn first<'c>(copies: &'c [Copy], running: &BTreeMap<InstanceId, bool>) -> Option<(&'c Copy, bool)> {
    let of = |ready: bool| {
        let is = |copy: &&Copy| copy.host_alive && running.get(&copy.id) == Some(&ready);
        copies.iter().find(is).map(|copy| (copy, ready))
    };
    of(true).or_else(|| of(false))
}

/// The copies that run, as the names know them, and whether each is ready.
async fn running(store: &Arc<dyn Store>, service: &ServiceId) -> Result<BTreeMap<InstanceId, bool>, Failure> {
    let shards = snapshot::list::<Endpoints>(store, &prefix::endpoints_of(service)).await?;
    let all = shards.into_values().flat_map(|found| found.value.endpoints);
    Ok(all.map(|endpoint| (endpoint.id, endpoint.ready)).collect())
}

#[cfg(test)]
mod tests {
    use evenkeel_api::name::TemplateRef;
    use evenkeel_api::record::{Desired, Instance};

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

    fn copy(id: &str, host_alive: bool) -> Copy {
        let id: InstanceId = id.parse().unwrap();
        let instance = Instance {
            template: TemplateRef { service: id.service.clone(), revision: 1 },
            slot: id.slot.clone(),
            desired: Desired::Run,
            cause: String::new(),
            fence: None,
            restart: None,
        };
        Copy { id, host: "h1".parse().unwrap(), host_alive, instance, observed: None, health: None }
    }

    #[test]
    fn of_a_service_it_is_one_that_is_ready_or_else_one_that_runs() {
        let copies = [copy("shop.web.1.n", true), copy("shop.web.2.n", true), copy("shop.web.3.n", false)];
        for (running, expected) in [
            (vec![("shop.web.1.n", true), ("shop.web.2.n", true)], Some(("shop.web.1.n", true))),
            (vec![("shop.web.1.n", false), ("shop.web.2.n", true)], Some(("shop.web.2.n", true))),
            (vec![("shop.web.2.n", false), ("shop.web.3.n", true)], Some(("shop.web.2.n", false))),
            (vec![("shop.web.3.n", true)], None),
            (vec![], None),
        ] {
            let known = running.iter().map(|(id, ready)| (id.parse().unwrap(), *ready)).collect();
            let found = first(&copies, &known).map(|(copy, ready)| (copy.id.to_string(), ready));
            assert_eq!(found, expected.map(|(id, ready)| (id.to_owned(), ready)), "{running:?}");
        }
    }
}
