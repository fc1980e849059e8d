//! From what is found of each copy, to one link for all of them.

use super::{Finding, Mark};

/// One link for several copies: how many are well, in words, and the worst of the others.
pub(super) fn of_all(mut found: Vec<Finding>, well: impl Fn(usize, usize) -> String) -> Finding {
    let all = found.len();
    if all <= 1 {
        return found.pop().unwrap_or_else(|| Finding::open("there is no copy yet"));
    }
    let good = found.iter().filter(|finding| matches!(finding.mark, Mark::Holds | Mark::Aside)).count();
    let count = well(good, all);
    let worst = found.iter().filter(|finding| finding.mark < Mark::Holds).min_by_key(|finding| finding.mark);
    match worst.cloned() {
        Some(worst) => {
            let alike = found.iter().filter(|finding| finding.mark == worst.mark).count();
            let more = if alike > 1 { format!(" (and {} more)", alike - 1) } else { String::new() };
            Finding {
                says: format!("{count}; {}{more}", worst.says),
                cause: format!("{}{more}", worst.cause),
                ..worst
            }
        }
        None if good == all => Finding::holds(count),
        None => Finding::open(count),
    }
}
