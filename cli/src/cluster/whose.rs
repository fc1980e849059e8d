//! Which cluster a command is for: the one that was made from here, or another one that the person names.

use std::path::Path;

use evenkeel_api::name::HostName;

use super::book::Book;
use crate::config::{Settings, without_cluster};
use crate::failure::Failure;

/// The book of the cluster that was made from here, unless the person names another cluster.
///
/// # Errors
/// It cannot be read.
pub fn book(given: &Settings) -> Result<Option<Book>, Failure> {
    // Without a home there is no book, and what is given must do.
    let Ok(home) = Book::home() else { return Ok(None) };
    book_in(&home, given)
}

/// The same, for whoever changes it: no other command does until this one ends.
///
/// # Errors
/// It cannot be read, or another command changes it now.
pub fn book_to_change(given: &Settings) -> Result<Option<Book>, Failure> {
    if book(given)?.is_none() {
        return Ok(None);
    }
    let home = Book::home()?;
    // What it said before it was held may be changed already.
    Ok(Book::open_to_change(&home)?.filter(|book| !names_another(&home, book, given)))
}

fn book_in(home: &Path, given: &Settings) -> Result<Option<Book>, Failure> {
    Ok(Book::open(home)?.filter(|book| !names_another(home, book, given)))
}

/// Whether there is one, for what is only advice.
pub fn is_made_here(given: &Settings) -> bool {
    book(given).is_ok_and(|book| book.is_some())
}

/// How a host that is dead for good is given up, with its volumes: as commands within a sentence.
pub fn farewell(host: &HostName, made_here: bool) -> String {
    let remove = format!("`evenkeel host remove {host} --dead`");
    if made_here {
        remove
    } else {
        format!("{remove} (with an etcd of your own, `evenkeel delete host {host}`)")
    }
}

/// The book of the cluster that was made from here, or what to do to have one.
///
/// # Errors
/// There is none, it is of another cluster, or it cannot be read.
pub fn need_book(given: &Settings) -> Result<Book, Failure> {
    need_book_in(&Book::home()?, given)
}

/// The same, for whoever changes it: no other command does until this one ends.
///
/// # Errors
/// See [`need_book`]; or another command changes it now.
pub fn need_book_to_change(given: &Settings) -> Result<Book, Failure> {
    book_to_change(given)?.map_or_else(|| need_book(given), Ok)
}

fn need_book_in(home: &Path, given: &Settings) -> Result<Book, Failure> {
    if let Some(book) = book_in(home, given)? {
        return Ok(book);
    }
    let place = Book::folder(home);
    if Book::is_there(home) {
        return Err(Failure::new(format!(
            "{} is of another cluster than --endpoints or --config (or EVENKEEL_ENDPOINTS, EVENKEEL_CONFIG) name: leave those \
             away, or do this where that cluster was made by `evenkeel init`",
            place.display()
        )));
    }
    let missing = format!(
        "{} is not here: do this as the person and on the machine that did `evenkeel init`",
        place.display()
    );
    Err(Failure::new(match given.resolve() {
        Ok(_) => missing,
        Err(_) => format!("{missing}\n  {}", without_cluster()),
    }))
}

/// Whether settings lead elsewhere than to the cluster of the book. Its own members, and the settings that stand
/// beside it, are no other one.
fn names_another(home: &Path, book: &Book, given: &Settings) -> bool {
    let same_file = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if !given.endpoints.is_empty() {
        let ours = book.endpoints(None);
        return given.endpoints.iter().any(|url| !ours.contains(&url.trim_end_matches('/').to_owned()));
    }
    given.config.as_ref().is_some_and(|config| !same_file(config, &home.join("config.yaml")))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::cluster::book::Facts;
    use crate::cluster::person;
    use crate::output::Format;

    fn given(endpoints: &[&str], config: Option<&Path>) -> Settings {
        Settings {
            endpoints: endpoints.iter().map(|url| (*url).to_owned()).collect(),
            prefix: None,
            ca: None,
            cert: None,
            key: None,
            config: config.map(Path::to_owned),
            output: Format::Table,
        }
    }

    #[test]
    fn a_dead_host_is_given_up_as_the_cluster_was_made() {
        let host = "h2".parse().unwrap();
        assert_eq!(farewell(&host, true), "`evenkeel host remove h2 --dead`");
        assert_eq!(
            farewell(&host, false),
            "`evenkeel host remove h2 --dead` (with an etcd of your own, `evenkeel delete host h2`)"
        );
    }

    #[test]
    fn the_book_is_not_for_another_cluster_that_is_named() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let facts = Facts {
            uid: "u".to_owned(),
            members: [("h1".parse().unwrap(), [10, 0, 0, 11].into())].into(),
            ..Facts::default()
        };
        let none = need_book_in(home, &given(&[], None)).unwrap_err().message;
        assert!(none.contains("evenkeel init") && none.contains("evenkeel dev"), "{none}");
        let book = Book::create(home, facts).unwrap();
        person::settle(home, &book, "me").unwrap();
        let (own, other) = (home.join("config.yaml"), home.join("other.yaml"));
        std::fs::write(&other, "endpoints: [\"http://10.9.9.9:2379\"]\n").unwrap();
        for (given, expected) in [
            (given(&[], None), true),
            (given(&[], Some(&own)), true),
            (given(&["https://10.0.0.11:2379/"], None), true),
            (given(&[], Some(&other)), false),
            (given(&["https://10.0.0.12:2379"], None), false),
            (given(&["https://10.0.0.11:2379", "https://10.0.0.12:2379"], None), false),
            (given(&["http://10.0.0.11:2379"], Some(&own)), false),
        ] {
            assert_eq!(book_in(home, &given).unwrap().is_some(), expected, "{given:?}");
            let needed = need_book_in(home, &given);
            assert_eq!(
                needed.as_ref().err().map(|failure| failure.message.contains("another cluster")),
                (!expected).then_some(true)
            );
        }
    }
}
