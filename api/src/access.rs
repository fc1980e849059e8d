//! Who may do what with which keys: the roles that etcd itself holds everyone to, once its access control is on.
//!
//! A grant is a prefix, as etcd's permissions are ranges of keys. Each controller has a role of its own on each
//! host, so that a stolen certificate writes no other host's keys; leading is one more role, for the hosts that
//! may lead. People have roles, too: a team may change the documents of its namespace and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::key::{Controller, Key, prefix};
use crate::meta::{Kind, ObjectRef};
use crate::name::{HostName, Namespace};

/// A key, or all that begin with a text, and whether they may be changed as well as read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Which: without the cluster's own prefix, and as [`prefix::covers`] has it.
    pub prefix: String,
    /// Else they may be read alone.
    pub write: bool,
}

/// Something that an identity is allowed to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// That controller, on that host.
    Host(HostName, Controller),
    /// The leader of that controller's kind, while it is elected.
    Lead(Controller),
    /// Reads all there is.
    Viewer,
    /// Writes the documents of one namespace, and says what becomes of their rollouts.
    Team(Namespace),
    /// Writes all documents, and says what only a person may say.
    Operator,
    /// All, as etcd has it: whoever may take a snapshot of it. No role of ours, and not one to be taken away.
    Root,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, controller) => write!(f, "evenkeel.host.{host}.{controller}"),
            Self::Lead(controller) => write!(f, "evenkeel.lead.{controller}"),
            Self::Viewer => f.write_str("evenkeel.viewer"),
            Self::Team(namespace) => write!(f, "evenkeel.team.{namespace}"),
            Self::Operator => f.write_str("evenkeel.operator"),
            Self::Root => f.write_str("root"),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    /// By its name at etcd.
    fn from_str(name: &str) -> Result<Self, String> {
        let unknown = || format!("no role is called {name:?}");
        let parts: Vec<&str> = name.split('.').collect();
        Ok(match parts.as_slice() {
            ["root"] => Self::Root,
            ["evenkeel", "host", host, controller] => {
                Self::Host(host.parse().map_err(|_| unknown())?, controller.parse().map_err(|_| unknown())?)
            }
            ["evenkeel", "lead", controller] => Self::Lead(controller.parse().map_err(|_| unknown())?),
            ["evenkeel", "team", namespace] => Self::Team(namespace.parse().map_err(|_| unknown())?),
            ["evenkeel", "viewer"] => Self::Viewer,
            ["evenkeel", "operator"] => Self::Operator,
            _ => return Err(unknown()),
        })
    }
}

impl Role {
    /// The roles of a host whose controllers share one identity.
    pub fn of_host(host: &HostName, leads: bool) -> Vec<Role> {
        let own = Controller::ALL.into_iter().map(|controller| Role::Host(host.clone(), controller));
        let lead = Controller::LEADING.into_iter().filter(|_| leads).map(Role::Lead);
        own.chain(lead).collect()
    }

    /// What it may do.
    pub fn grants(&self) -> BTreeSet<Grant> {
        let mut grants = Grants::default();
        match self {
            Self::Host(host, controller) => grants.host(host, *controller),
            Self::Lead(controller) => grants.lead(*controller),
            Self::Viewer => {
                grants.read([String::new()]);
                grants.write([prefix::views()]);
            }
            Self::Team(namespace) => {
                grants.read([String::new()]);
                for kind in [Kind::Service, Kind::HealthCheck] {
                    grants.write([format!("{}{namespace}/", prefix::documents(kind))]);
                }
                grants.write([format!("{}{namespace}/", prefix::pins()), Key::Confirmed.to_string()]);
                grants.write([prefix::sessions_in(namespace), prefix::views()]);
            }
            Self::Operator => {
                grants.read([String::new()]);
                grants.write(Kind::ALL.map(prefix::documents));
                grants.write([prefix::pins(), Key::Confirmed.to_string(), Key::Brake.to_string()]);
                grants.write([prefix::sessions(), prefix::views()]);
                // `recover` gives the store back what was lost.
                grants.write([Key::Cluster.to_string(), Key::Halt.to_string()]);
            }
            Self::Root => grants.write([String::new()]),
        }
        grants.0.into_iter().map(|(prefix, write)| Grant { prefix, write }).collect()
    }
}

/// Whether grants allow to read all that `asked` means, or to change it.
pub fn allow<'a>(grants: impl IntoIterator<Item = &'a Grant>, asked: &str, write: bool) -> bool {
    grants.into_iter().any(|grant| prefix::covers(&grant.prefix, asked) && (grant.write || !write))
}

/// Prefixes, each with whether it may be changed: a range of keys has one right.
#[derive(Default)]
struct Grants(BTreeMap<String, bool>);

impl Grants {
    fn read(&mut self, prefixes: impl IntoIterator<Item = String>) {
        for prefix in prefixes {
            self.0.entry(prefix).or_default();
        }
    }

    fn write(&mut self, prefixes: impl IntoIterator<Item = String>) {
        self.0.extend(prefixes.into_iter().map(|prefix| (prefix, true)));
    }

    fn host(&mut self, host: &HostName, controller: Controller) {
        // Of every writer: its guard, its events, and what it says while it does not believe the store.
        self.write([
            Key::Writer(host.clone(), controller).to_string(),
            prefix::events_of(host, controller),
            Key::Distrust(host.clone(), controller).to_string(),
            prefix::recall_of(host, controller),
            Key::Halt.to_string(),
        ]);
        self.read([Key::Cluster.to_string(), Key::Alive(host.clone()).to_string()]);
        match controller {
            Controller::Host => {
                self.write([Key::Alive(host.clone()).to_string(), Key::Facts(host.clone()).to_string()]);
                self.read([Key::Document(ObjectRef::Host(host.clone())).to_string()]);
            }
            Controller::Network => {
                self.write([prefix::network_reports_of(host)]);
                self.read([prefix::accepted(Kind::Network), prefix::accepted(Kind::Host), prefix::subnets()]);
            }
            Controller::Instance => {
                self.write([prefix::observed_on(host)]);
                self.read([prefix::instances_on(host), prefix::accepted(Kind::Service), prefix::revisions()]);
                self.read([prefix::subnets(), prefix::alive(), Key::Facts(host.clone()).to_string()]);
                // Read alone: whoever could write there could ask other hosts in a person's place.
                self.read([prefix::sessions(), prefix::views()]);
            }
            Controller::Healthcheck => {
                self.write([prefix::health_on(host)]);
                self.read([prefix::accepted(Kind::HealthCheck)]);
            }
            Controller::Dns => {
                self.write([Key::DnsReport(host.clone()).to_string()]);
                self.read([Kind::Network, Kind::Host, Kind::HealthCheck].map(prefix::accepted));
                self.read([prefix::endpoints(), prefix::alive(), prefix::subnets()]);
            }
            // A proof of life names the copy's record.
            Controller::Watchdog => self.read([prefix::instances_on(host)]),
            Controller::Service => {}
        }
    }

    fn lead(&mut self, controller: Controller) {
        self.write([Key::Leader(controller).to_string()]);
        // Whether what those who led before left still stands.
        self.read([prefix::writers()]);
        match controller {
            Controller::Service => {
                for kind in [Kind::Service, Kind::Host] {
                    self.write([prefix::accepted(kind), prefix::status(kind)]);
                }
                self.write([prefix::revisions(), prefix::rollouts(), prefix::instances()]);
                self.write([prefix::endpoints(), Key::Brakes.to_string()]);
                self.read(Kind::ALL.map(prefix::documents));
                // Networks and checks for the archive, from which a store that lost them gets them back.
                self.read(Kind::ALL.map(prefix::accepted));
                self.read([prefix::pins(), prefix::observed(), prefix::health()]);
                self.read([Key::Brake.to_string(), Key::Confirmed.to_string()]);
                self.read([prefix::alive(), prefix::facts(), prefix::subnets(), prefix::reports()]);
            }
            Controller::Network => {
                self.write([
                    prefix::accepted(Kind::Network),
                    prefix::status(Kind::Network),
                    prefix::subnets(),
                ]);
                self.read([prefix::documents(Kind::Network)]);
                self.read([Kind::Host, Kind::Service].map(prefix::accepted));
                self.read([prefix::facts(), prefix::alive(), prefix::reports()]);
            }
            Controller::Healthcheck => {
                self.write([prefix::accepted(Kind::HealthCheck), prefix::status(Kind::HealthCheck)]);
                self.read([prefix::documents(Kind::HealthCheck), prefix::accepted(Kind::Service)]);
                self.read([prefix::health()]);
            }
            Controller::Host | Controller::Instance | Controller::Dns | Controller::Watchdog => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        match text.split('.').collect::<Vec<_>>()[..] {
            ["host", host, controller] => Role::Host(host.parse().unwrap(), controller.parse().unwrap()),
            ["lead", controller] => Role::Lead(controller.parse().unwrap()),
            ["team", namespace] => Role::Team(namespace.parse().unwrap()),
            ["viewer"] => Role::Viewer,
            ["operator"] => Role::Operator,
            _ => panic!("{text} is no role"),
        }
    }

    #[track_caller]
    fn may(who: &str, key: &str, read: bool, write: bool) {
        let grants = role(who).grants();
        assert_eq!(allow(&grants, key, false), read, "{who} reads {key}");
        assert_eq!(allow(&grants, key, true), write, "{who} writes {key}");
    }

    #[test]
    fn a_controller_writes_of_its_own_host_alone() {
        may("host.h1.instance", "observed/h1/shop.web.1.1", true, true);
        may("host.h1.instance", "instances/h1/", true, false);
        may("host.h1.instance", "instances/h10/shop.web.1.1", false, false);
        may("host.h1.instance", "observed/h2/shop.web.1.1", false, false);
        may("host.h1.instance", "accepted/services/shop/web", true, false);
        may("host.h1.instance", "revisions/services/shop/web/7/digest", true, false);
        may("host.h1.healthcheck", "health/h1/shop.web.1.1", true, true);
        may("host.h1.healthcheck", "observed/h1/shop.web.1.1", false, false);
        may("host.h1.host", "alive/h1", true, true);
        may("host.h1.host", "alive/h10", false, false);
        may("host.h1.host", "facts/h1", true, true);
        may("host.h1.host", "hosts/h1", true, false);
        may("host.h1.network", "reports/h1/network/lan", true, true);
        may("host.h1.network", "reports/h1/dns", false, false);
        may("host.h1.dns", "reports/h1/dns", true, true);
        may("host.h1.dns", "endpoints/", true, false);
        may("host.h1.watchdog", "instances/h1/shop.web.1.1", true, false);
        may("host.h1.watchdog", "alive/h1", true, false);
    }

    #[test]
    fn every_writer_has_its_guard_its_events_and_the_stop_for_all() {
        for controller in Controller::ALL {
            let who = format!("host.h1.{controller}");
            may(&who, &format!("writers/h1/{controller}"), true, true);
            may(&who, &format!("events/h1.{controller}/7"), true, true);
            may(&who, &format!("reports/h1/trust/{controller}"), true, true);
            may(&who, "halt", true, true);
            may(&who, "cluster", true, false);
            may(&who, "services/shop/web", false, false);
            may(&who, &format!("writers/h2/{controller}"), false, false);
            may(&who, &format!("leaders/{controller}"), false, false);
        }
    }

    #[test]
    fn leading_is_a_right_of_its_own() {
        may("lead.service", "leaders/service", true, true);
        may("lead.service", "leaders/network", false, false);
        may("lead.service", "instances/h1/shop.web.1.1", true, true);
        may("lead.service", "revisions/services/shop/web/7/digest", true, true);
        may("lead.service", "services/shop/web", true, false);
        may("lead.service", "accepted/networks/lan", true, false);
        may("lead.network", "writers/h2/network", true, false);
        may("lead.network", "accepted/healthchecks/shop/web", false, false);
        may("lead.network", "accepted/networks/lan", true, true);
        may("lead.network", "subnets/lan/h1", true, true);
        may("lead.healthcheck", "accepted/healthchecks/shop/web", true, true);
        may("lead.healthcheck", "instances/h1/shop.web.1.1", false, false);
        let host: HostName = "h1".parse().unwrap();
        let leads = |roles: Vec<Role>| roles.iter().filter(|role| matches!(role, Role::Lead(_))).count();
        assert_eq!(leads(Role::of_host(&host, true)), Controller::LEADING.len());
        assert_eq!(leads(Role::of_host(&host, false)), 0);
        assert_eq!(Role::of_host(&host, false).len(), Controller::ALL.len());
    }

    #[test]
    fn a_team_changes_its_own_namespace_and_sees_all() {
        may("team.shop", "services/shop/web", true, true);
        may("team.shop", "healthchecks/shop/web", true, true);
        may("team.shop", "pins/shop/web", true, true);
        may("team.shop", "confirmed", true, true);
        may("team.shop", "services/shopping/web", true, false);
        may("team.shop", "networks/lan", true, false);
        may("team.shop", "instances/h1/shop.web.1.1", true, false);
        may("viewer", "services/shop/web", true, false);
        may("operator", "services/shop/web", true, true);
        may("operator", "hosts/h1", true, true);
        may("operator", "cluster", true, true);
        may("operator", "instances/h1/shop.web.1.1", true, false);
    }

    #[test]
    fn whoever_sees_all_may_ask_to_see_and_only_who_changes_a_namespace_may_reach_into_its_copies() {
        for (who, view, shop, pay) in [
            ("viewer", true, false, false),
            ("team.shop", true, true, false),
            ("operator", true, true, true),
            ("host.h1.instance", false, false, false),
            ("lead.service", false, false, false),
        ] {
            let grants = role(who).grants();
            for (key, may) in [("views/1", view), ("sessions/shop/1", shop), ("sessions/pay/1", pay)] {
                assert_eq!(allow(&grants, key, true), may, "{who} writes {key}");
            }
        }
        may("host.h1.instance", "sessions/shop/1", true, false);
        may("host.h1.instance", "views/1", true, false);
        may("host.h1.dns", "views/1", false, false);
    }

    #[test]
    fn a_range_of_keys_has_one_right() {
        for who in ["host.h1.host", "lead.service", "team.shop", "operator"] {
            let grants = role(who).grants();
            let prefixes: BTreeSet<_> = grants.iter().map(|grant| &grant.prefix).collect();
            assert_eq!(prefixes.len(), grants.len(), "{grants:?}");
        }
        let write = Grant { prefix: "alive/h1".to_owned(), write: true };
        assert!(role("host.h1.host").grants().contains(&write));
    }

    #[test]
    fn roles_have_names_of_their_own() {
        let names = ["host.h1.instance", "lead.service", "team.shop", "viewer", "operator"];
        for name in names {
            assert_eq!(role(name).to_string(), format!("evenkeel.{name}"));
            assert_eq!(format!("evenkeel.{name}").parse(), Ok(role(name)));
        }
        for wrong in
            ["", "evenkeel", "evenkeel.host.h1", "evenkeel.host.h1.sync", "evenkeel.team.A", "viewer"]
        {
            assert!(wrong.parse::<Role>().is_err(), "{wrong}");
        }
    }
}
