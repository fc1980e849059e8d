//! Which versions of etcd exclusive services can be trusted to. A proof of life is a linearizable read, and so
//! it must be one: where a member that was paused may answer from its past, a copy that was given up could
//! be proved alive.

use std::collections::BTreeMap;

/// The first and the last version with stale linearizable reads after a pause of a member.
const STALE: std::ops::RangeInclusive<(u64, u64, u64)> = (3, 4, 20)..=(3, 4, 41);

/// What is said while no member has told its version.
pub const UNKNOWN: &str = "exclusive: the versions of etcd's members are not known yet";

/// Why exclusive copies cannot be started on an etcd whose members, by name, have these versions; `None`: they
/// can.
pub fn no_exclusive(versions: &BTreeMap<String, String>) -> Option<String> {
    let bad =
        versions.iter().find(|(_, version)| parse(version).is_none_or(|version| STALE.contains(&version)));
    bad.map(|(member, version)| {
        format!(
            "exclusive: the etcd member {member} is of version {version}; from 3.4.20 to 3.4.41, reads may be stale \
             after a pause, and two copies could run. Upgrade etcd (3.5 or later), or set \
             EVENKEEL_EXCLUSIVE_ANY_ETCD=true on all hosts that may lead, and live with that"
        )
    })
}

/// `3.4.23`, also with something behind it.
fn parse(version: &str) -> Option<(u64, u64, u64)> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse::<u64>().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_stale_reads_are_refused() {
        let refused = |version: &str| no_exclusive(&[("m".to_owned(), version.to_owned())].into()).is_some();
        for (version, expected) in [
            ("3.4.19", false),
            ("3.4.20", true),
            ("3.4.23", true),
            ("3.4.41+git", true),
            ("3.4.42", false),
            ("3.5.0", false),
            ("3.5.16", false),
            ("3.6.0-rc.1", false),
            ("new", true),
        ] {
            assert_eq!(refused(version), expected, "{version}");
        }
        assert_eq!(no_exclusive(&BTreeMap::new()), None, "a store that is no etcd");
        let mixed = [("a".to_owned(), "3.5.16".to_owned()), ("b".to_owned(), "3.4.23".to_owned())];
        assert!(no_exclusive(&mixed.into()).unwrap().contains("member b is of version 3.4.23"));
    }
}
