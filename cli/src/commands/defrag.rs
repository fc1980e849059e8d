//! `evenkeel etcd defrag`: room in etcd, also when it is full.

use evenkeel_etcd::EtcdConfig;
use evenkeel_etcd::rights::Admin;
use evenkeel_runtime::store::StoreError;

use crate::cluster::book::Book;
use crate::failure::Failure;
use crate::output::{complain, say};

/// Lets etcd forget all but the present, lets one member after the other write its file anew, and takes the
/// alarm back that refuses writes.
///
/// # Errors
/// etcd does not answer; or a member does not (exit code 3): the others are done, and it may be said again.
pub async fn run(book: &Book) -> Result<(), Failure> {
    let config = book.root();
    let all = Admin::new(&config).map_err(Failure::new)?;
    let members = again(async || all.members().await).await?;
    let revision = again(async || all.compact().await).await?;
    say!("etcd knows nothing before revision {revision} any more");
    // One that has never started has nothing.
    let started = members.into_iter().filter_map(|member| {
        let url = member.client_urls.into_iter().next()?;
        Some((member.name, url))
    });
    let left_out = each(started, async |name, url| {
        let alone = EtcdConfig { endpoints: vec![url], ..config.clone() };
        let alone = Admin::new(&alone).map_err(Failure::new)?;
        let before = alone.health().await?.size;
        alone.defragment().await?;
        let after = alone.health().await?.size;
        say!("{name}: {} MiB, were {}", after >> 20, before >> 20);
        Ok(())
    })
    .await;
    // The last: a member that is full still would raise it again.
    again(async || all.disarm().await).await?;
    verdict(&left_out)
}

/// Asks once more where a member hangs: the next one is asked then, and none of this does harm twice.
async fn again<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match ask().await {
        Err(StoreError::Unknown(_)) => ask().await,
        answer => answer,
    }
}

/// Does it to each member, by name and address; the names of those with which it failed.
async fn each(
    members: impl Iterator<Item = (String, String)>,
    mut defragment: impl AsyncFnMut(&str, String) -> Result<(), Failure>,
) -> Vec<String> {
    let mut left_out = Vec::new();
    for (name, url) in members {
        if let Err(failure) = defragment(&name, url).await {
            complain!("the member {name} is left out: {failure}");
            left_out.push(name);
        }
    }
    left_out
}

fn verdict(left_out: &[String]) -> Result<(), Failure> {
    if left_out.is_empty() {
        return Ok(());
    }
    Err(Failure::not_converged(format!(
        "{} gave no room back, and may stop writes again; once it answers, say `evenkeel etcd defrag` again \
         (`evenkeel etcd list` shows how it is)",
        left_out.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_member_that_does_not_answer_keeps_no_other_from_it() {
        let members = ["h1", "h2", "h3"].map(|name| (name.to_owned(), format!("https://{name}:2379")));
        let mut asked = Vec::new();
        let left_out = each(members.into_iter(), async |name, url| {
            asked.push(url);
            if name == "h1" { Err(Failure::new("it does not answer")) } else { Ok(()) }
        });
        assert_eq!(left_out.await, ["h1"]);
        assert_eq!(asked.len(), 3, "{asked:?}");
        let failure = verdict(&["h1".to_owned()]).unwrap_err();
        assert_eq!(failure.code, 3);
        assert!(failure.message.starts_with("h1 gave no room back"), "{failure}");
        assert!(verdict(&[]).is_ok());
    }

    #[tokio::test]
    async fn where_a_member_hangs_the_next_one_is_asked() {
        let calls = std::cell::Cell::new(0);
        let hangs_once = async || {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { Err(StoreError::Unknown("no answer".to_owned())) } else { Ok(7) }
        };
        assert_eq!(again(hangs_once).await.unwrap(), 7);
        calls.set(1);
        let refuses = async || {
            calls.set(calls.get() + 1);
            Err::<(), _>(StoreError::Refused("no".to_owned()))
        };
        assert!(again(refuses).await.is_err());
        assert_eq!(calls.get(), 2);
    }
}
