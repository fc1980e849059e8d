//! Whether every host trusts the authorities that will sign alone, before those of before sign no more: one that does not
//! would be out of reach of all others, and a member of etcd with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::name::HostName;
use evenkeel_etcd::EtcdStore;
use evenkeel_runtime::store::Store;

use super::book::Book;
use super::deliver::Place;
use crate::failure::Failure;
use crate::snapshot;

/// Whom a host trusts: the files that say so, each after a line with its path.
const TRUSTS: &str = "for file in /etc/evenkeel/tls/*/ca.crt /etc/evenkeel-backup/tls/ca.crt /etc/evenkeel-etcd/tls/ca.crt \
                      /etc/evenkeel-etcd/tls/peer-ca.crt; do [ ! -e \"$file\" ] || { echo \"file $file\"; cat \"$file\"; }; done";
const BEFORE_FILE: &str = "file ";
const CONTROLLERS: &str = "/etc/evenkeel/tls/";
const ETCD: &str = "/etc/evenkeel-etcd/tls/ca.crt";
const ETCD_PEERS: &str = "/etc/evenkeel-etcd/tls/peer-ca.crt";

/// Asks every host, and every member of etcd that the book knows.
///
/// # Errors
/// One is off, is not reached, or does not trust them; or etcd does not answer. Nothing was changed.
pub async fn demand(book: &mut Book) -> Result<(), Failure> {
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(&book.root()).map_err(Failure::new)?);
    let hosts = snapshot::hosts(&store).await?;
    let members = book.facts.members.clone();
    let mut places: BTreeMap<HostName, Ipv4Addr> = members.clone();
    places.extend(hosts.accepted.iter().map(|(host, accepted)| (host.clone(), accepted.spec.address)));
    let [clients, peers] = book.signers().map(|signers| signers.lasting().pair.cert.clone());
    let mut found = BTreeMap::new();
    for (host, address) in places {
        // Whoever carries etcd and is no host has no lease to renew.
        let off = hosts.accepted.contains_key(&host) && !hosts.alive.contains_key(&host);
        let why = if off {
            Some("it is not alive".to_owned())
        } else {
            match Place::of(address, None).asks(TRUSTS).await {
                Ok(said) => lacking(&said, members.contains_key(&host), &clients, &peers),
                Err(failure) => Some(failure.message),
            }
        };
        found.extend(why.map(|why| (host, why)));
    }
    verdict(&found, book.signers().iter().any(|signers| signers.has_next()))
}

/// What a host that says so lacks.
fn lacking(said: &str, carries_etcd: bool, clients: &str, peers: &str) -> Option<String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut path = "";
    for line in said.lines() {
        match line.strip_prefix(BEFORE_FILE) {
            Some(next) => path = next,
            None => {
                let text = files.entry(path).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if !files.keys().any(|path| path.starts_with(CONTROLLERS)) {
        return Some(format!("its controllers have no ca.crt below {CONTROLLERS}"));
    }
    let must = [ETCD, ETCD_PEERS].into_iter().filter(|_| carries_etcd);
    if let Some(path) = must.into_iter().find(|path| !files.contains_key(path)) {
        return Some(format!("it carries a member of etcd and has no {path}"));
    }
    // What a member of before left behind is renewed by nobody, and read by nobody.
    files.retain(|path, _| carries_etcd || ![ETCD, ETCD_PEERS].contains(path));
    let trusts =
        |path: &str, text: &String| text.contains(if path == ETCD_PEERS { peers } else { clients }.trim());
    let strange = files.iter().find(|(path, text)| !trusts(path, text));
    strange.map(|(path, _)| format!("{path} there does not have the new authority"))
}

fn verdict(found: &BTreeMap<HostName, String>, has_next: bool) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    // Once the new ones sign, another `--authority` would make a third pair.
    let again =
        if has_next { "`evenkeel cert rotate --authority`" } else { "`evenkeel cert rotate --finish`" };
    let lines: Vec<_> = found.iter().map(|(host, why)| format!("  {host}: {why}")).collect();
    Err(Failure::new(format!(
        "not every host is known to trust the new authorities, and one that does not would be shut out, so nothing was \
         changed:\n{}\n  bring it up, then {again} again; one that will not come back: `evenkeel \
         host remove HOST --dead` first",
        lines.join("\n")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, authorities: &[&str]) -> String {
        let certs = authorities.iter().map(|name| format!("-----BEGIN\n{name}\n-----END\n"));
        format!("file {path}\n{}", certs.collect::<String>())
    }

    #[test]
    fn a_host_that_was_left_out_is_found_by_any_of_its_files() {
        let (clients, peers) = ("-----BEGIN\nc2\n-----END\n", "-----BEGIN\np2\n-----END\n");
        let dns = |names: &[&str]| file("/etc/evenkeel/tls/dns/ca.crt", names);
        let host = |names: &[&str]| file("/etc/evenkeel/tls/host/ca.crt", names);
        let etcd = |names: &[&str], peers: &[&str]| [file(ETCD, names), file(ETCD_PEERS, peers)].concat();
        let backup = |names: &[&str]| file("/etc/evenkeel-backup/tls/ca.crt", names);
        // What the host says, whether it carries etcd, and what is told of it.
        for (said, member, told) in [
            (host(&["c1", "c2"]), false, None),
            (host(&["c2"]), false, None),
            (host(&["c1"]), false, Some("host/ca.crt")),
            ([dns(&["c1"]), host(&["c1", "c2"])].concat(), false, Some("dns/ca.crt")),
            (String::new(), false, Some("no ca.crt")),
            (host(&["c1", "c2"]), true, Some("/etc/evenkeel-etcd/tls/ca.crt")),
            ([host(&["c1", "c2"]), etcd(&["c1", "c2"], &["p1", "p2"])].concat(), true, None),
            (
                [host(&["c1", "c2"]), etcd(&["c1"], &["p1", "p2"])].concat(),
                true,
                Some("evenkeel-etcd/tls/ca.crt"),
            ),
            ([host(&["c1", "c2"]), etcd(&["c1", "c2"], &["p1"])].concat(), true, Some("peer-ca.crt")),
            // Of one authority's name, but the other's file.
            ([host(&["c1", "c2"]), etcd(&["c1", "c2"], &["c2"])].concat(), true, Some("peer-ca.crt")),
            ([host(&["c1", "c2"]), backup(&["c1"])].concat(), false, Some("backup")),
            ([host(&["c1", "c2"]), etcd(&["c1"], &["p1"])].concat(), false, None),
        ] {
            // The last line's end does not come along.
            let why = lacking(said.trim(), member, clients, peers);
            match told {
                None => assert_eq!(why, None, "{said}"),
                Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{said}: {why:?}"),
            }
        }
    }

    #[test]
    fn whoever_lacks_something_is_named_with_what_to_do() {
        assert!(verdict(&BTreeMap::new(), true).is_ok());
        let found = ["h2", "h3"].map(|name| (name.parse().unwrap(), "it is not alive".to_owned()));
        let found: BTreeMap<HostName, String> = found.into();
        let message = verdict(&found, true).unwrap_err().message;
        assert!(message.contains("`evenkeel cert rotate --authority` again"), "{message}");
        assert!(
            verdict(&found, false).unwrap_err().message.contains("`evenkeel cert rotate --finish` again")
        );
        for part in
            ["h2: it is not alive", "h3: it is not alive", "host remove HOST --dead", "nothing was changed"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
}
