//! Versions as engines and members of etcd write them.

/// The numbers of `3.5.16`, `28.1` and `20.10.24+dfsg1`; none where it begins with something else.
pub fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let plain = version.split(['-', '+', '~']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse::<u64>().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_numbers_or_three_and_perhaps_more_behind_them() {
        for (version, expected) in [
            ("3.5.16", Some((3, 5, 16))),
            ("28.1", Some((28, 1, 0))),
            ("20.10.24+dfsg1", Some((20, 10, 24))),
            ("3.6.0-rc.1", Some((3, 6, 0))),
            ("27.0.0~rc.1", Some((27, 0, 0))),
            ("28", None),
            ("3.x.1", None),
            ("3.5.x", None),
            ("dev", None),
            ("", None),
        ] {
            assert_eq!(numbers(version), expected, "{version}");
        }
    }
}
