//! Backups of etcd in a folder: what they are called, and which are kept.

use std::collections::BTreeSet;
use std::time::Duration;

const BEGIN: &str = "etcd-";
const END: &str = ".db";
const DAY: u64 = 24 * 3600;

/// The name of a backup; `now` is the time since 1970. Names sort as their times do.
pub fn name(now: Duration) -> String {
    format!("{BEGIN}{:012}{END}", now.as_secs())
}

/// When a backup of that name was made, since 1970; none for other files.
pub fn time(name: &str) -> Option<Duration> {
    let digits = name.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits = (digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)?;
    digits.parse().ok().map(Duration::from_secs)
}

/// Which of these files are backups that need not be kept: all but the newest `keep`, and the newest of each of the
/// last `days` days that have one.
pub fn surplus<'a>(names: impl IntoIterator<Item = &'a str>, keep: usize, days: usize) -> BTreeSet<&'a str> {
    let mut backups: Vec<_> =
        names.into_iter().filter_map(|name| Some((time(name)?.as_secs(), name))).collect();
    backups.sort_unstable_by(|one, other| other.cmp(one));
    let mut of_days = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for (n, (at, name)) in backups.into_iter().enumerate() {
        let first_of_day = !of_days.contains(&(at / DAY)) && of_days.len() < days;
        if first_of_day {
            of_days.insert(at / DAY);
        }
        if n >= keep && !first_of_day {
            gone.insert(name);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64, hour: u64) -> String {
        name(Duration::from_secs(day * DAY + hour * 3600))
    }

    #[test]
    fn names_tell_the_time_and_other_files_are_none() {
        let now = Duration::from_secs(1_795_982_400);
        assert_eq!((name(now).as_str(), time(&name(now))), ("etcd-001795982400.db", Some(now)));
        for other in [
            "",
            "etcd-.db",
            "etcd-1.db",
            "etcd-001795982400.db.new",
            "etcd-+01795982400.db",
            "x-001795982400.db",
        ] {
            assert_eq!(time(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_one_a_day_of_the_days_before() {
        let names: Vec<String> = (10..=13).flat_map(|day| [3, 9, 15].map(|hour| at(day, hour))).collect();
        let all = names.iter().map(String::as_str).chain(["lost+found", "etcd-001795982400.db.new"]);
        for (keep, days, kept) in [
            (2, 3, vec![at(11, 15), at(12, 15), at(13, 9), at(13, 15)]),
            (0, 1, vec![at(13, 15)]),
            (4, 0, vec![at(12, 15), at(13, 3), at(13, 9), at(13, 15)]),
        ] {
            let gone = surplus(all.clone(), keep, days);
            let left: Vec<_> = names.iter().filter(|name| !gone.contains(name.as_str())).cloned().collect();
            assert_eq!(left, kept, "{keep} and {days} days");
        }
        // What is no backup is nobody's to remove.
        assert!(surplus(["lost+found"], 0, 0).is_empty());
        assert!(surplus(all, 100, 0).is_empty());
    }
}
