//! What the cluster is: asked of etcd, of each of its members, and read from the records in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_api::host::Availability;
use evenkeel_api::key::{Controller, Key, prefix};
use evenkeel_api::meta::Kind;
use evenkeel_api::name::{HostName, NetworkName};
use evenkeel_api::record::{Accepted, Halt, NetworkReport};
use evenkeel_api::service::ServiceSpec;
use evenkeel_doctor::certificate;
use evenkeel_doctor::facts::{Answer, Asked, Cluster, Host, Member, Shown};
use evenkeel_etcd::membership::MemberOfEtcd;
use evenkeel_etcd::rights::{Admin, ROOT};
use evenkeel_etcd::{EtcdConfig, EtcdStore};
use evenkeel_runtime::store::{Store, StoreError};

use super::{shown, shown_authority};
use crate::cluster::book::Book;
use crate::config::Settings;
use crate::failure::Failure;
use crate::snapshot::{self, Hosts};

/// What is to be done when an authority's certificate comes to its end.
pub const AUTHORITY: &str = "where the cluster was made: evenkeel cert rotate --authority (docs/security.md)";
/// The same, where it is not known who made it.
const OWN_AUTHORITY: &str =
    "whoever made it makes another one; of a cluster of `evenkeel init`: docs/security.md";
/// What makes the certificates anew that whoever made the cluster holds.
const ROTATE: &str = "evenkeel cert rotate";

/// The cluster that the settings name, or that was made from here.
///
/// # Errors
/// etcd does not answer.
pub async fn cluster(settings: &Settings, book: Option<&Book>) -> Asked<Cluster> {
    let config = match book {
        Some(book) => book.root(),
        None => crate::etcd_of(settings).map_err(|failure| failure.message)?,
    };
    ask(settings, book, &config).await.map_err(|failure| failure.message)
}

async fn ask(settings: &Settings, book: Option<&Book>, config: &EtcdConfig) -> Result<Cluster, Failure> {
    let admin = Admin::new(config).map_err(Failure::new)?;
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(config).map_err(Failure::new)?);
    // First of all something that needs most of the members: without them nothing else can be said.
    let hosts = snapshot::hosts(&store).await?;
    let halted = snapshot::get::<Halt>(&store, &Key::Halt).await?.map(|found| found.value.why);
    let services = snapshot::list::<Accepted<ServiceSpec>>(&store, &prefix::accepted(Kind::Service)).await?;
    let leaders: BTreeSet<Key> =
        store.list(&prefix::leaders()).await?.kvs.iter().filter_map(|kv| kv.key.parse().ok()).collect();
    let leads = |controller: &Controller| leaders.contains(&Key::Leader(*controller));
    Ok(Cluster {
        now: crate::cluster::now().as_secs(),
        tls: config.endpoints.iter().all(|endpoint| endpoint.starts_with("https://")),
        open: open(settings, config).await,
        members: members(config, &hosts).await?,
        // Who may not see them is told by the members that take no writes.
        alarms: admin.alarms().await.unwrap_or_default(),
        exclusive: services.values().any(|found| is_exclusive(&found.value.spec)),
        halted,
        leaderless: Controller::LEADING.into_iter().filter(|controller| !leads(controller)).collect(),
        hosts: known(&store, &hosts).await?,
        backups: book.map(|book| book.facts.backups.keys().cloned().collect()),
        certificates: certificates(settings, book),
    })
}

fn is_exclusive(spec: &ServiceSpec) -> bool {
    spec.template.exclusive
}

/// Whether everyone may do everything; none where that cannot be told, as to etcd's root all is open anyway.
async fn open(settings: &Settings, config: &EtcdConfig) -> Option<bool> {
    let everyday = crate::etcd_of(settings).ok()?;
    let identity = everyday.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    let name = identity.map(|(path, _)| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(certificate::read(&text).ok()?.name)
    });
    // One that cannot be read may be anyone's.
    let nobody = name.is_some_and(|name| name.is_none_or(|name| name == ROOT));
    if nobody || everyday.endpoints.is_empty() || config.endpoints.is_empty() {
        return None;
    }
    Admin::new(&everyday).ok()?.sees_all().await.ok()
}

/// Each member, and what it says when it is asked alone.
///
/// # Errors
/// The configuration cannot be used.
pub async fn members(config: &EtcdConfig, hosts: &Hosts) -> Result<BTreeMap<String, Member>, Failure> {
    let admin = Admin::new(config).map_err(Failure::new)?;
    let mut found = BTreeMap::new();
    let Ok(members) = admin.members().await else {
        // Who may not see them knows their addresses at least.
        for endpoint in &config.endpoints {
            let member = Member {
                host: at(hosts, endpoint),
                learns: false,
                answer: Some(answer(config, endpoint).await),
            };
            found.insert(endpoint.clone(), member);
        }
        return Ok(found);
    };
    for member in members {
        let MemberOfEtcd { name, peer_url, client_urls, learns, .. } = member;
        let answer = match client_urls.first() {
            Some(url) => Some(answer(config, url).await),
            None => None,
        };
        let name = if name.is_empty() { peer_url.clone() } else { name };
        found.insert(name, Member { host: at(hosts, &peer_url), learns, answer });
    }
    Ok(found)
}

async fn answer(config: &EtcdConfig, endpoint: &str) -> Asked<Answer> {
    let config = EtcdConfig { endpoints: vec![endpoint.to_owned()], ..config.clone() };
    let admin = Admin::new(&config).map_err(|error| error.to_string())?;
    let said = admin.health().await.map_err(|error: StoreError| error.to_string())?;
    Ok(Answer {
        version: said.version,
        leader: said.leader,
        size: said.size,
        used: said.used,
        quota: said.quota,
    })
}

/// The host that a URL leads to.
fn at(hosts: &Hosts, url: &str) -> Option<HostName> {
    let authority = url.split("://").last()?.split('/').next()?;
    let address = authority.rsplit_once(':').map_or(authority, |(address, _)| address);
    let found = hosts.accepted.iter().find(|(_, host)| host.spec.address.to_string() == address);
    found.map(|(name, _)| name.clone())
}

/// Every host that has a document, or is there.
async fn known(store: &Arc<dyn Store>, hosts: &Hosts) -> Result<BTreeMap<HostName, Host>, Failure> {
    let mut networks: BTreeMap<HostName, BTreeMap<NetworkName, String>> = BTreeMap::new();
    for kv in store.list(&prefix::reports()).await?.kvs {
        let Ok(Key::NetworkReport(host, network)) = kv.key.parse() else { continue };
        if let Ok(NetworkReport::Conflict { why } | NetworkReport::Failed { why }) =
            serde_json::from_slice(&kv.value)
        {
            networks.entry(host).or_default().insert(network, why);
        }
    }
    let names: BTreeSet<&HostName> = hosts.accepted.keys().chain(hosts.alive.keys()).collect();
    let host = |name: &HostName| {
        let facts = hosts.facts.get(name);
        let availability = hosts.accepted.get(name).map(|host| host.spec.availability());
        Host {
            alive: hosts.alive.contains_key(name),
            known: facts.is_some(),
            evenkeel: facts.map(|facts| facts.evenkeel.clone()).unwrap_or_default(),
            watchdog: facts.is_some_and(|facts| facts.watchdog),
            active: availability.is_none_or(|availability| availability == Availability::Active),
            networks: networks.get(name).cloned().unwrap_or_default(),
        }
    };
    Ok(names.into_iter().map(|name| (name.clone(), host(name))).collect())
}

/// The certificates that a person has: their own, and those of the book.
fn certificates(settings: &Settings, book: Option<&Book>) -> Vec<Shown> {
    let mut found = Vec::new();
    if let Ok(EtcdConfig { tls: Some(tls), .. }) = crate::etcd_of(settings) {
        let mend = match book {
            Some(_) => ROTATE,
            None => "whoever made the cluster: evenkeel user add, with your name and a new folder",
        };
        found.extend(tls.identity.iter().map(|(path, _)| shown(path, mend)));
        found.extend(book.is_none().then(|| shown(&tls.ca, OWN_AUTHORITY)));
    }
    if let Some(book) = book {
        let of = |name: &str, mend: &str| shown(&book.path(name), mend);
        found.push(of("root.crt", ROTATE));
        found.extend(["clients.crt", "peers.crt"].map(|name| shown_authority(&book.path(name))));
    }
    found
}

/// Where all hosts are; while etcd does not answer, those that the book knows.
///
/// # Errors
/// Nobody knows.
pub async fn addresses(
    config: &EtcdConfig,
    book: Option<&Book>,
) -> Result<BTreeMap<HostName, Ipv4Addr>, Failure> {
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(config).map_err(Failure::new)?);
    match (snapshot::hosts(&store).await, book) {
        (Ok(hosts), _) => {
            Ok(hosts.accepted.into_iter().map(|(name, host)| (name, host.spec.address)).collect())
        }
        (Err(_), Some(book)) => {
            Ok(book.facts.members.iter().chain(&book.facts.backups).map(|(h, a)| (h.clone(), *a)).collect())
        }
        (Err(failure), None) => Err(failure),
    }
}
