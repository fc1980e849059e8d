//! Sets of address ranges.

use evenkeel_api::network::Cidr;

/// The same addresses in as few ranges as can be, sorted. The kernel refuses a set whose ranges overlap,
/// and fewer ranges are fewer rules.
pub fn collapse(ranges: impl IntoIterator<Item = Cidr>) -> Vec<Cidr> {
    let mut sorted: Vec<Cidr> = ranges.into_iter().collect();
    sorted.sort();
    let mut result: Vec<Cidr> = Vec::new();
    for range in sorted {
        // Sorted by first address, the wider of two that share it first: what overlaps is contained.
        if result.last().is_some_and(|last| last.overlaps(&range)) {
            continue;
        }
        result.push(range);
        while let [.., a, b] = result[..] {
            let Some(both) = joined(a, b) else { break };
            result.truncate(result.len() - 2);
            result.push(both);
        }
    }
    result
}

/// The range that is exactly two neighbours, where there is one; `a` stands before `b`.
fn joined(a: Cidr, b: Cidr) -> Option<Cidr> {
    if a.prefix() != b.prefix() {
        return None;
    }
    let both = Cidr::new(a.network(), a.prefix().checked_sub(1)?);
    both.contains(b.network()).then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(ranges: &[&str]) -> Vec<String> {
        collapse(ranges.iter().map(|r| r.parse().unwrap())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn neighbours_join_and_contained_ranges_vanish() {
        assert_eq!(collapsed(&["10.89.0.0/16", "10.88.0.0/16"]), ["10.88.0.0/15"]);
        for apart in [
            ["10.89.0.0/16", "10.90.0.0/16"],
            ["10.88.0.0/16", "10.90.0.0/16"],
            ["10.0.0.0/24", "10.0.1.0/25"],
        ] {
            assert_eq!(collapsed(&apart), apart);
        }
        assert_eq!(collapsed(&["0.0.0.0/0", "128.0.0.0/1"]), ["0.0.0.0/0"]);
        assert_eq!(collapsed(&["10.0.0.5", "10.0.0.0/24", "10.0.0.0/25"]), ["10.0.0.0/24"]);
        assert_eq!(
            collapsed(&["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/25", "10.0.1.0/24"]),
            ["10.0.0.0/23"]
        );
    }
}
