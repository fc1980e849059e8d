//! `evenkeel etcd defrag`: room in etcd, also when it is full.

use evenkeel_etcd::EtcdConfig;
use evenkeel_etcd::rights::Admin;

use crate::cluster::book::Book;
use crate::failure::Failure;
use crate::output::say;

/// Lets etcd forget all but the present, lets one member after the other write its file anew, and takes the
/// alarm back that refuses writes.
///
/// # Errors
/// etcd, or one of its members, does not answer: those before it are done, and it may be said again.
pub async fn run(book: &Book) -> Result<(), Failure> {
    let config = book.root();
    let all = Admin::new(&config).map_err(Failure::new)?;
    let members = all.members().await?;
    let revision = all.compact().await?;
    say!("etcd knows nothing before revision {revision} any more");
    for member in members {
        // One that has never started has nothing.
        let Some(url) = member.client_urls.first() else { continue };
        let alone = EtcdConfig { endpoints: vec![url.clone()], ..config.clone() };
        let alone = Admin::new(&alone).map_err(Failure::new)?;
        let told = |error| {
            let failure = Failure::from(error);
            Failure::new(format!("the member {}: {failure}", member.name))
        };
        let before = alone.health().await.map_err(told)?.size;
        alone.defragment().await.map_err(told)?;
        let after = alone.health().await.map_err(told)?.size;
        say!("{}: {} MiB, were {}", member.name, after >> 20, before >> 20);
    }
    // The last: a member that is full still would raise it again.
    all.disarm().await?;
    Ok(())
}
