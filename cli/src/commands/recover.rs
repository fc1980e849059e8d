//! `evenkeel recover`: what a store that went back has lost, and both ways out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use evenkeel_api::name::HostName;
use evenkeel_api::record::{Halt, Timestamp};
use evenkeel_manager::recover::difference::{Difference, Word};
use evenkeel_manager::recover::{Error, View, Way};
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::output::{Format, say, structured, table};

/// Which way out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel recover                      what etcd lost; changes nothing
  evenkeel recover --from-hosts         what the hosts remember holds
  evenkeel recover --accept-etcd --yes  what etcd says holds, also where copies stop then")]
pub struct Recover {
    /// What the hosts remember counts: give it back to etcd, and go on; nothing restarts
    #[arg(long)]
    from_hosts: bool,
    /// What etcd says now counts: what it does not know any more is stopped, gently
    #[arg(long, conflicts_with = "from_hosts")]
    accept_etcd: bool,
    /// Also where --accept-etcd stops copies
    #[arg(long, requires = "accept_etcd")]
    yes: bool,
}

impl Recover {
    /// Shows the difference, or does what is asked.
    ///
    /// # Errors
    /// etcd is trusted, the hosts have not told enough, or the store does not answer.
    pub async fn run(&self, store: &Arc<dyn Store>, format: Format, now: Timestamp) -> Result<(), Failure> {
        let view = View::read(store).await?;
        if !view.is_needed() {
            return Err(Failure::new("every controller trusts etcd: there is nothing to recover"));
        }
        let way = match (self.from_hosts, self.accept_etcd) {
            (true, _) => Way::FromHosts,
            (_, true) => Way::AcceptEtcd,
            _ => return show(&view, &view.difference(), format),
        };
        if way == Way::AcceptEtcd && !self.yes {
            stops_nothing(&view.difference())?;
        }
        let count = view.recover(store, way, now).await?;
        if self.from_hosts {
            say!("{count} records of etcd are as the hosts remember them");
        }
        say!("within some seconds every controller goes on from what etcd says now");
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Txn(error) => error.into(),
            Error::Refused(why) => Self::new(why),
        }
    }
}

/// What is stopped cannot be taken back, and may have been the only copy of what etcd forgot.
fn stops_nothing(difference: &Difference) -> Result<(), Failure> {
    let stopped: Vec<String> = difference
        .copies
        .iter()
        .filter(|copy| copy.runs)
        .map(|copy| format!("{} on {}", copy.id, copy.host))
        .collect();
    let Some(first) = stopped.first() else { return Ok(()) };
    Err(Failure::new(format!(
        "this stops {} copies that etcd does not know any more, such as {first}: `evenkeel recover` shows them all; \
         if that is meant, say it again with --yes",
        stopped.len()
    )))
}

fn show(view: &View, difference: &Difference, format: Format) -> Result<(), Failure> {
    if format != Format::Table {
        return structured(format, difference);
    }
    if let Some(halt) = &view.halt {
        say!("etcd went back to the past: {}", halt.why);
    }
    let names =
        |hosts: &BTreeSet<HostName>| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    let who = if view.remember.is_empty() { "nobody yet".to_owned() } else { names(&view.remember) };
    say!("who has told what it remembers: {who}");
    if !view.memory.complete {
        say!("no host that may lead is among them: documents cannot be compared");
    }
    say!();
    let rows = difference.documents.iter().map(|one| {
        let at = |revision: i64| if revision == 0 { "-".to_owned() } else { revision.to_string() };
        vec![one.object.to_string(), words(one.word).to_owned(), at(one.stands), at(one.remembered)]
    });
    table(
        &["DOCUMENT", "IN ETCD IT IS", "REVISION", "REMEMBERED"],
        rows.collect(),
        "all documents are as remembered",
    );
    say!();
    let rows = difference.copies.iter().map(|copy| {
        let (from_hosts, accept) =
            if copy.runs { ("runs on", "is stopped") } else { ("stays away", "is started") };
        vec![copy.id.to_string(), copy.host.to_string(), from_hosts.to_owned(), accept.to_owned()]
    });
    table(
        &["COPY", "HOST", "WITH --from-hosts", "WITH --accept-etcd"],
        rows.collect(),
        "all copies are as remembered",
    );
    say!();
    say!("evenkeel recover --from-hosts     what the hosts remember counts; nothing restarts");
    say!("evenkeel recover --accept-etcd    what etcd says now counts");
    Ok(())
}

fn words(word: Word) -> &'static str {
    match word {
        Word::Lost => "lost",
        Word::Older => "older",
        Word::Newer => "newer, and stays",
        Word::Returned => "back, though it was deleted",
        Word::New => "new, and stays",
    }
}

/// What was lost, in one line, for those who look at other things too.
///
/// # Errors
/// The store does not answer.
pub async fn summary(store: &Arc<dyn Store>) -> Result<Option<(Halt, String)>, Failure> {
    let view = View::read(store).await?;
    let Some(halt) = view.halt.clone() else { return Ok(None) };
    let difference = view.difference();
    let lost = difference.documents.iter().filter(|one| matches!(one.word, Word::Lost | Word::Older));
    let lost: Vec<String> = lost.map(|one| one.object.to_string()).collect();
    let named: Vec<&str> = lost.iter().take(5).map(String::as_str).collect();
    let more = lost.len() - named.len();
    let documents = match (lost.len(), more) {
        (0, _) => "no document".to_owned(),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more documents", named.join(", ")),
    };
    let copies = difference.copies.iter().filter(|copy| copy.runs).count();
    Ok(Some((
        halt,
        format!("lost or older in etcd: {documents}; copies that run and that it does not know: {copies}"),
    )))
}

#[cfg(test)]
mod tests {
    use evenkeel_etcd::MemoryStore;
    use evenkeel_manager::recover::difference::CopyDiffers;
    use evenkeel_runtime::store::TxnBuilder;

    use super::*;

    #[tokio::test]
    async fn without_distrust_there_is_nothing_to_recover_and_a_halt_is_told() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
        let command = Recover { from_hosts: true, accept_etcd: false, yes: false };
        let said = command.run(&store, Format::Table, Timestamp(5)).await.unwrap_err().message;
        assert!(said.contains("nothing to recover"), "{said}");
        assert!(summary(&store).await.unwrap().is_none());
        let halt = TxnBuilder::new().put(&"halt".parse().unwrap(), r#"{"why":"it went back","since":1}"#);
        store.commit(&halt.build().unwrap()).await.unwrap();
        let (halt, lost) = summary(&store).await.unwrap().unwrap();
        assert_eq!(halt.why, "it went back");
        assert!(lost.contains("no document"), "{lost}");
    }

    #[test]
    fn copies_that_etcd_forgot_are_stopped_only_where_that_is_said_twice() {
        let copy =
            |name: &str, runs| CopyDiffers { id: name.parse().unwrap(), host: "h1".parse().unwrap(), runs };
        let mut difference =
            Difference { copies: vec![copy("shop.web.2.rt", false)], ..Difference::default() };
        stops_nothing(&difference).unwrap();
        difference.copies.push(copy("shop.web.1.rs", true));
        let said = stops_nothing(&difference).unwrap_err().message;
        assert!(said.contains("stops 1 copies") && said.contains("shop.web.1.rs on h1"), "{said}");
        assert!(said.ends_with("say it again with --yes"), "{said}");
    }
}
