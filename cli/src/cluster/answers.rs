//! Whether etcd answers; and members that answer nobody, told what the book says: without etcd no host can be asked after.

use std::time::Duration;

use evenkeel_api::name::HostName;
use evenkeel_cluster::Ticket;
use evenkeel_etcd::EtcdConfig;
use evenkeel_etcd::rights::Admin;
use tokio::time::timeout;

use super::book::Book;
use super::deliver::Place;
use crate::failure::Failure;
use crate::output::say;
use crate::polling::{Step, poll};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// An etcd that answers at all does so sooner.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Waits until etcd answers.
///
/// # Errors
/// It does not in time.
pub async fn answers(admin: &Admin) -> Result<(), Failure> {
    poll(READY_WITHIN, async || {
        Ok(match admin.read().await {
            Ok(_) => Step::Done(()),
            Err(error) => Step::NotYet(Failure::timed_out(format!(
                "etcd does not answer: {error}\n  what it says itself: docker logs evenkeel-etcd"
            ))),
        })
    })
    .await
}

/// The same, of a host's own member alone, if it carries one.
///
/// # Errors
/// It does not in time.
pub async fn member_answers(book: &Book, host: &HostName) -> Result<(), Failure> {
    let Some(address) = book.facts.members.get(host) else { return Ok(()) };
    let alone = EtcdConfig { endpoints: vec![format!("https://{address}:2379")], ..book.root() };
    answers(&Admin::new(&alone).map_err(Failure::new)?).await
}

/// Gives each member but those of `skip` its certificates and its image, if etcd answers nobody: they may have ended, or be of no
/// use. Nothing happens where it answers.
///
/// # Errors
/// It does not answer then, either.
pub async fn revive(book: &Book, skip: &[HostName]) -> Result<(), Failure> {
    book.renew()?;
    let admin = Admin::new(&book.root()).map_err(Failure::new)?;
    revive_by(
        book,
        skip,
        async || timeout(ANSWERS_WITHIN, admin.members()).await.is_ok_and(|members| members.is_ok()),
        async |ticket| Place::of(ticket.address, None).delivers(ticket).await,
        async || answers(&admin).await,
    )
    .await
}

/// The same: whether etcd answers at once, how a ticket comes to its host, and whether etcd answers in time.
async fn revive_by(
    book: &Book,
    skip: &[HostName],
    answers: impl AsyncFn() -> bool,
    delivers: impl AsyncFn(Ticket) -> Result<(), Failure>,
    answers_in_time: impl AsyncFn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if answers().await {
        return Ok(());
    }
    say!("etcd does not answer: its members are given new certificates, and their image, first");
    let mut failed = Vec::new();
    for (host, address) in book.facts.members.iter().filter(|(host, _)| !skip.contains(host)) {
        match delivers(book.ticket(host, *address, true)?).await {
            Ok(()) => say!("{host}: has them"),
            Err(failure) => failed.push(format!("\n  {host}: {failure}")),
        }
    }
    // One that is off does not matter if the others decide.
    answers_in_time()
        .await
        .map_err(|failure| Failure { message: format!("{failure}{}", failed.concat()), ..failure })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cluster::book::Facts;

    /// A cluster whose etcd is on h1, h2 and h3.
    fn book(home: &std::path::Path) -> Book {
        let members = [1, 2, 3].map(|n| (format!("h{n}").parse().unwrap(), [10, 0, 0, 10 + n].into()));
        Book::create(home, Facts { members: members.into(), ..Facts::default() }).unwrap()
    }

    #[tokio::test]
    async fn members_of_an_etcd_that_answers_nobody_are_told_by_the_book_alone() {
        let home = tempfile::tempdir().unwrap();
        let book = book(home.path());
        let host = |name: &str| name.parse::<HostName>().unwrap();
        // Whether etcd answers before, those that are left out and that are off, whether it answers then: who is given some,
        // and what is told of those who were not.
        for (answers, skip, off, then, given, told) in [
            (true, None, None, true, vec![], None),
            (false, None, None, true, vec!["h1", "h2", "h3"], None),
            (false, Some("h2"), None, true, vec!["h1", "h3"], None),
            (false, None, Some("h1"), true, vec!["h2", "h3"], None),
            (false, None, Some("h1"), false, vec!["h2", "h3"], Some("etcd is away\n  h1: it is off")),
        ] {
            let skip: Vec<_> = skip.map(host).into_iter().collect();
            let tickets = RefCell::new(Vec::new());
            let delivers = async |ticket: Ticket| {
                if off.map(host).as_ref() == Some(&ticket.host) {
                    return Err(Failure::new("it is off"));
                }
                tickets.borrow_mut().push(ticket);
                Ok(())
            };
            let then = async || if then { Ok(()) } else { Err(Failure::timed_out("etcd is away")) };
            let done = revive_by(&book, &skip, async || answers, delivers, then).await;
            assert_eq!(done.err().map(|failure| failure.message).as_deref(), told);
            let tickets = tickets.into_inner();
            assert_eq!(tickets.iter().map(|ticket| ticket.host.as_str()).collect::<Vec<_>>(), given);
            for ticket in tickets {
                assert_eq!(Some(&ticket.address), book.facts.members.get(&ticket.host));
                // A member of before, with its data: it is no new etcd that begins.
                let member = ticket.etcd.unwrap();
                assert!(member.joins && member.restore.is_none());
            }
        }
    }
}
