//! Whether etcd decides, and would without one of its members.

use std::net::Ipv4Addr;

use evenkeel_etcd::membership::MemberOfEtcd;

/// A member, and what it says when it is asked alone.
#[derive(Debug, Clone)]
pub struct Seen {
    /// As the others know it.
    pub member: MemberOfEtcd,
    /// Why it does not take part.
    pub answer: Result<(), String>,
}

/// Where the others reach the member on a host.
pub fn peer_url(address: Ipv4Addr) -> String {
    format!("https://{address}:2380")
}

impl Seen {
    /// What people call it.
    pub fn name(&self) -> &str {
        if self.member.name.is_empty() { &self.member.peer_url } else { &self.member.name }
    }

    /// How it is, in words.
    pub fn state(&self) -> String {
        match &self.answer {
            Err(why) => why.clone(),
            Ok(()) if self.member.learns => "learns".to_owned(),
            Ok(()) => "votes".to_owned(),
        }
    }
}

/// Sees that the others decide without the member at `url`.
///
/// # Errors
/// Why they would not, and what to do.
pub fn without(host: &str, url: &str, members: &[Seen]) -> Result<(), String> {
    if !members.iter().any(|seen| seen.member.peer_url == url && !seen.member.learns) {
        // It counts for nothing.
        return Ok(());
    }
    let others: Vec<_> =
        members.iter().filter(|seen| !seen.member.learns && seen.member.peer_url != url).collect();
    if others.is_empty() {
        return Err(format!(
            "{host} carries the only member of etcd that votes, and all there is: `evenkeel etcd add` another host first"
        ));
    }
    let (answer, needed) = (others.iter().filter(|seen| seen.answer.is_ok()).count(), others.len() / 2 + 1);
    if answer >= needed {
        return Ok(());
    }
    let silent = others.iter().filter(|seen| seen.answer.is_err());
    let silent: Vec<_> = silent.map(|seen| format!("{} {}", seen.name(), seen.state())).collect();
    Err(format!(
        "without {host} etcd has {} members that vote and needs {needed} of them to decide, and {answer} answers: {}; bring \
         that back first, by `evenkeel-etcd start` there",
        others.len(),
        silent.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(n: u8, votes: bool, answers: bool) -> Seen {
        let member = MemberOfEtcd {
            id: n.into(),
            name: format!("h{n}"),
            peer_url: peer_url([10, 0, 0, 10 + n].into()),
            client_urls: Vec::new(),
            learns: !votes,
        };
        Seen { member, answer: if answers { Ok(()) } else { Err("does not answer".to_owned()) } }
    }

    #[test]
    fn a_member_may_go_if_the_others_decide_without_it() {
        // Members h1…: whether each answers; then the one that is to go, and whether it may.
        for (answers, gone, may) in [
            (vec![true], 1, false),
            // Two of two that vote: one alone decides as well.
            (vec![true, true], 2, true),
            (vec![true, false], 2, true),
            (vec![false, true], 2, false),
            (vec![true, true, true], 3, true),
            (vec![true, true, false], 3, true),
            (vec![true, true, false], 1, false),
            (vec![true, true, false, false], 4, true),
            (vec![true, true, false, false], 1, false),
            // Not there at all, as when it was taken out before.
            (vec![true, true], 3, true),
        ] {
            let members: Vec<_> = (1..).zip(&answers).map(|(n, answers)| seen(n, true, *answers)).collect();
            let url = peer_url([10, 0, 0, 10 + gone].into());
            let without = without(&format!("h{gone}"), &url, &members);
            assert_eq!(without.is_ok(), may, "{answers:?} without h{gone}: {without:?}");
            // While etcd decides, it is no time for a backup.
            assert!(without.is_ok() || !without.unwrap_err().contains("restore"));
        }
        // Who learns counts for nothing, neither as the one that goes nor as one that stays.
        let members = [seen(1, true, true), seen(2, false, true)];
        let url = |n: usize| members[n].member.peer_url.clone();
        assert!(without("h2", &url(1), &members).is_ok());
        assert!(without("h1", &url(0), &members).is_err_and(|why| why.contains("only member")));
    }

    #[test]
    fn a_member_that_does_not_answer_is_not_said_to_vote() {
        assert_eq!(seen(1, true, true).state(), "votes");
        assert_eq!(seen(1, false, true).state(), "learns");
        assert_eq!(seen(1, true, false).state(), "does not answer");
    }
}
