//! What would stay on a host that is drained: rehearsed, as `evenkeel plan` does.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_api::name::{HostName, InstanceId};
use evenkeel_plan::service::{GuardBroken, Rehearsal};
use evenkeel_runtime::store::Store;

use super::plan::Look;
use crate::failure::Failure;

/// The copies that a drain would leave on a host, each with why.
///
/// # Errors
/// The store does not answer.
pub async fn on(store: &Arc<dyn Store>, host: &HostName) -> Result<BTreeMap<InstanceId, String>, Failure> {
    stay(Look::at(store).await?.rehearsal(), host).map_err(Failure::new)
}

fn stay(mut rehearsal: Rehearsal, host: &HostName) -> Result<BTreeMap<InstanceId, String>, GuardBroken> {
    rehearsal.drain(host);
    rehearsal.run()?;
    let lacks = rehearsal.lacks();
    let why =
        |id: &InstanceId| lacks.get(&id.service).map_or("no other host takes it", String::as_str).to_owned();
    Ok(rehearsal.copies_on(host).into_iter().map(|id| (id.clone(), why(&id))).collect())
}

#[cfg(test)]
mod tests {
    use evenkeel_api::quantity::{Bytes, MilliCpus};
    use evenkeel_api::record::{Alive, Facts};
    use evenkeel_api::text::{Origin, parse_document};
    use evenkeel_plan::service::{Host, World};

    use super::*;

    /// Hosts h1 and h2, of which h2 is there or not, and a service that both shall carry.
    fn rehearsal(deploy: &str) -> Rehearsal {
        let mut world = World::default();
        for name in ["h1", "h2"] {
            let facts = Facts { cpus: MilliCpus(4000), memory: Bytes(8 << 30), ..Facts::default() };
            let alive = Alive { boot_id: "b".to_owned(), incarnation: 1 };
            let host = Host { facts: Some(facts), alive: Some(alive), ..Host::default() };
            world.hosts.insert(name.parse().unwrap(), host);
        }
        let mut rehearsal = Rehearsal::new(world, 10);
        let service = format!("{{image: x, networks: [lan], deploy: {{{deploy}}}}}");
        for (kind, metadata, spec) in [
            ("Host", "name: h1", "{address: 10.0.0.11}"),
            ("Host", "name: h2", "{address: 10.0.0.12}"),
            ("Network", "name: lan", "{ipam: {config: [{subnet: 10.88.0.0/16}]}}"),
            ("Service", "name: web, namespace: shop", &service),
        ] {
            let text =
                format!("apiVersion: evenkeel/v1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n");
            let origin = Origin::File { name: "test".to_owned(), namespace: None };
            rehearsal.put(&parse_document(&text, &origin).unwrap());
        }
        rehearsal.run().unwrap();
        rehearsal
    }

    #[test]
    fn what_another_host_takes_does_not_stay_and_all_else_does() {
        for (deploy, gone, staying) in [
            ("replicas: 2", false, 0),
            ("replicas: 2, placement: {max_replicas_per_node: 1}", false, 1),
            ("replicas: 2", true, 1),
            // On each host one: it is missed nowhere else.
            ("mode: global", false, 0),
        ] {
            let mut rehearsal = rehearsal(deploy);
            let (h1, h2): (HostName, HostName) = ("h1".parse().unwrap(), "h2".parse().unwrap());
            let on = |host: &HostName| rehearsal.copies_on(host).len();
            assert_eq!((on(&h1), on(&h2)), (1, 1), "{deploy}");
            if gone {
                rehearsal.lose(&[h2].into());
            }
            let left = stay(rehearsal, &h1).unwrap();
            assert_eq!(left.len(), staying, "{deploy}, h2 is gone: {gone}; {left:?}");
            assert!(left.values().all(|why| !why.is_empty()));
        }
    }
}
