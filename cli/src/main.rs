//! The evenkeel command: documents in, answers out, and the controllers themselves.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use evenkeel_api::key::Key;
use evenkeel_api::record::LEVEL;
use evenkeel_etcd::{EtcdConfig, EtcdStore, EtcdTls};
use evenkeel_runtime::env::{SystemClock, WallClock};
use evenkeel_runtime::store::Store;

mod care;
mod checkup;
mod cluster;
mod columns;
mod commands;
mod complete;
mod config;
mod documents;
mod failure;
mod figures;
mod lacking;
mod output;
mod parent;
mod plan_file;
mod polling;
mod sessions;
mod snapshot;
mod steps;
#[cfg(test)]
mod texts;
mod visible;
mod wait;
mod which;
mod why;
mod words;
mod worker;

use commands::{
    apply, backup, brake, cert, child, completion, controller, cp, delete, describe, dev, diff, doctor, etcd,
    events, exec, explain, get, host, import, init, logs, man, plan, port_forward, recover, restart, restore,
    rollout, scale, schema, status, top, upgrade, user, validate, wait as wait_for,
};
use failure::Failure;

/// Keeps plain Docker hosts on an even keel: services, networks, health checks and names, from documents.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version = VERSION.as_str(), max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    settings: config::Settings,
    #[command(subcommand)]
    command: Command,
}

/// With the newest feature level that it understands: `upgrade` reads it.
static VERSION: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| format!("{} (level {LEVEL})", env!("CARGO_PKG_VERSION")));

const EXAMPLES: &str = "\
Examples:
  evenkeel apply -f shop/ --wait          a folder of documents, until every copy is ready
  evenkeel status                         what is wrong and why, then hosts and services
  evenkeel describe shop/web              all that is known of one service
  evenkeel explain shop/web               why it does not run, or is not in the names
  evenkeel logs -f shop/web               what its copies write, on all hosts
  evenkeel plan -f shop/web.yaml          what would happen, and on which hosts
  evenkeel doctor --all                   what hurts, or will, and what mends it
  evenkeel get copies shop/web -o json    for a program
  evenkeel import compose.yaml >s.yaml    Compose files into documents, with a report

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 did not come about, 4 time ran out; `diff` has its own";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a cluster; this machine becomes its first host
    Init(init::Init),
    /// Put documents into the store, the whole set or nothing
    Apply(apply::Apply),
    /// What would happen if documents were applied, with the hosts; changes nothing
    Plan(plan::Plan),
    /// Objects of a kind, copies, or one document as it was written
    Get(get::Get),
    /// All that is known of one object
    Describe(describe::Describe),
    /// Why something runs or does not: a service, a slot, a copy, a name, a host
    Explain(explain::Explain),
    /// What is wrong and why, newest first; then hosts, services and networks
    #[command(after_help = "\
Examples:
  evenkeel status
  evenkeel status -o json  for a program

`evenkeel explain OBJECT` says of what stands there why it is so.")]
    Status,
    /// What hurts, or will, on hosts and in etcd, and the command that mends it
    Doctor(doctor::Doctor),
    /// What copies write, on whichever hosts they are
    Logs(logs::Logs),
    /// A command in a copy
    Exec(exec::Exec),
    /// A port of a copy, on this machine
    PortForward(port_forward::PortForward),
    /// Files out of a copy, and into one
    Cp(cp::Cp),
    /// What copies use of CPU and memory
    Top(top::Top),
    /// What files would change in the stored documents
    Diff(diff::Diff),
    /// Another number of copies, written into the stored document
    Scale(scale::Scale),
    /// New copies in place of all that there are, by the rollout's rules
    Restart(restart::Restart),
    /// Until services are ready, of their newest template, or gone
    Wait(wait_for::Wait),
    /// Take documents out of the store
    Delete(delete::Delete),
    /// What happened and why, newest last
    Events(events::Events),
    /// The exchange of a service's copies: status, history, pause, resume, retry, rollback, unpin
    Rollout(rollout::Rollout),
    /// The templates of a service that are kept, and what became of them: `rollout history`
    #[command(after_help = rollout::HISTORY)]
    History(rollout::Which),
    /// Run an older template of a service, until the document brings another or you unpin it
    #[command(after_help = rollout::ROLLBACK)]
    Rollback(rollout::Back),
    /// Exchange no copies of a service, whatever documents say, until you resume or unpin
    #[command(after_help = rollout::PAUSE)]
    Pause(rollout::Which),
    /// Go on with a rollout that was paused, or that stands still since a copy failed
    #[command(after_help = rollout::RESUME)]
    Resume(rollout::On),
    /// Try the newest template of a service again that was rejected
    #[command(after_help = rollout::RETRY)]
    Retry(rollout::On),
    /// Take a pause or an older template of a service back: the document holds again
    #[command(after_help = rollout::UNPIN)]
    Unpin(rollout::On),
    /// What holds back when too much is lost at once: status, release
    Brake(brake::Brake),
    /// What etcd lost when it went back to the past, and both ways out
    Recover(recover::Recover),
    /// Hosts: list, describe, drain, undrain, maintenance, confirm-dead, add, remove, ticket, join
    Host(host::Host),
    /// People, and what they may do: list, add, remove
    User(user::User),
    /// New certificates: rotate
    Cert(cert::Cert),
    /// Another version of the controllers, host by host, without touching a container
    Upgrade(upgrade::Upgrade),
    /// The members of the cluster's etcd: list, add, replace, remove, defrag
    Etcd(etcd::Etcd),
    /// All that etcd holds, kept on hosts every hour: now, list
    Backup(backup::Backup),
    /// Let an etcd that is lost begin again from a backup
    Restore(restore::Restore),
    /// The JSON Schema of the documents, for editors
    Schema(schema::Schema),
    /// Check documents without a cluster
    Validate(validate::Validate),
    /// Turn Compose files into documents, and tell what was changed, refused, or needs a decision
    Import(import::Import),
    /// A cluster of this one machine, to try things out; ends with Ctrl-C, and leaves nothing
    Dev(dev::Dev),
    /// What a shell needs to complete commands, and the names of the cluster's objects
    Completion(completion::Completion),
    /// What may come next on a command line; for the shells
    #[command(hide = true)]
    Complete(completion::Complete),
    /// Another program, as a child of the process that says so; for `dev`
    #[command(hide = true)]
    Child(child::Child),
    /// Manual pages, into a folder
    Man(man::Man),
    /// Run controllers on this host
    Controller(controller::Controller),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Controller(controller) = &cli.command {
        return controller.run(&cli.settings);
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::aside("error", &failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

impl Command {
    /// It begins by reading whole lists of the store, and somebody waits for the answer.
    fn only_reads(&self) -> bool {
        matches!(self, Self::Status | Self::Get(_) | Self::Describe(_) | Self::Events(_))
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let format = cli.settings.output;
    match &cli.command {
        Command::Schema(command) => return command.run(format),
        Command::Validate(command) => return command.run(format),
        Command::Import(command) => return command.run(format),
        Command::Man(command) => return command.run(Cli::command()),
        Command::Child(command) => return command.run(),
        Command::Completion(command) => {
            command.run();
            return Ok(());
        }
        Command::Complete(command) => {
            command.run(&cli.settings, Cli::command());
            return Ok(());
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = SystemClock.now();
    runtime.block_on(async {
        match &cli.command {
            Command::Init(command) => return command.run().await,
            Command::Dev(command) => return command.run().await,
            Command::User(command) => return command.run(&cli.settings).await,
            Command::Etcd(command) => return command.run(&cli.settings).await,
            Command::Cert(command) => return command.run(&cli.settings).await,
            Command::Upgrade(command) => return command.run(&cli.settings).await,
            Command::Backup(command) => return command.run(&cli.settings).await,
            Command::Restore(command) => return command.run(&cli.settings).await,
            Command::Doctor(command) => return command.run(&cli.settings, format).await,
            Command::Host(command) => return command.run(&cli.settings, now).await,
            Command::Logs(command) => return command.run(&cli.settings).await,
            Command::Exec(command) => return command.run(&cli.settings).await,
            Command::PortForward(command) => return command.run(&cli.settings).await,
            Command::Cp(command) => return command.run(&cli.settings).await,
            Command::Top(command) => return command.run(&cli.settings, format).await,
            _ => {}
        }
        let store: Arc<dyn Store> = match &cli.command {
            Command::Recover(_) => Arc::new(connect_as_root(&cli.settings)?),
            _ => store(&cli.settings)?,
        };
        if cli.command.only_reads() {
            // Lists are waited for much longer, as they may be long: whether anything answers is known sooner.
            store.get(&Key::Cluster).await?;
        }
        match &cli.command {
            Command::Apply(command) => command.run(&store, format).await,
            Command::Plan(command) => command.run(&store, format).await,
            Command::Get(command) => command.run(&store, format).await,
            Command::Describe(command) => command.run(&store, format, now).await,
            Command::Explain(command) => command.run(&cli.settings, &store, now).await,
            Command::Status => status::run(&cli.settings, &store, format, now).await,
            Command::Diff(command) => match command.run(&store).await? {
                true => Err(Failure::differs()),
                false => Ok(()),
            },
            Command::Scale(command) => command.run(&store).await,
            Command::Restart(command) => command.run(&store).await,
            Command::Wait(command) => command.run(&store).await,
            Command::History(which) => which.history(&store, format).await,
            Command::Delete(command) => command.run(&store).await,
            Command::Events(command) => command.run(&store, format, now).await,
            Command::Rollout(command) => command.run(&store, format).await,
            Command::Rollback(command) => command.run(&store).await,
            Command::Pause(command) => command.pause(&store).await,
            Command::Resume(command) => command.resume(&store).await,
            Command::Retry(command) => command.retry(&store).await,
            Command::Unpin(command) => command.unpin(&store).await,
            Command::Brake(command) => command.run(&store, format).await,
            Command::Recover(command) => command.run(&store, format, now).await,
            Command::Init(_)
            | Command::Dev(_)
            | Command::User(_)
            | Command::Etcd(_)
            | Command::Cert(_)
            | Command::Upgrade(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Host(_)
            | Command::Doctor(_)
            | Command::Logs(_)
            | Command::Exec(_)
            | Command::PortForward(_)
            | Command::Cp(_)
            | Command::Top(_)
            | Command::Schema(_)
            | Command::Validate(_)
            | Command::Import(_)
            | Command::Completion(_)
            | Command::Complete(_)
            | Command::Man(_)
            | Command::Child(_)
            | Command::Controller(_) => Ok(()),
        }
    })
}

/// The store that the settings name.
fn store(settings: &config::Settings) -> Result<Arc<dyn Store>, Failure> {
    Ok(Arc::new(connect(settings)?))
}

/// A client of it.
fn connect(settings: &config::Settings) -> Result<EtcdStore, Failure> {
    EtcdStore::new(&etcd_of(settings)?).map_err(Failure::new)
}

/// The same as etcd's root, for whoever made the cluster and names no other: what was lost is of many writers.
fn connect_as_root(settings: &config::Settings) -> Result<EtcdStore, Failure> {
    match cluster::whose::book(settings)? {
        Some(book) => EtcdStore::new(&book.root()).map_err(Failure::new),
        None => connect(settings),
    }
}

/// The same, soon tired of a member that does not answer: for who has a deadline.
fn connect_impatiently(settings: &config::Settings) -> Result<EtcdStore, Failure> {
    let config = EtcdConfig { attempt: Duration::from_millis(500), ..etcd_of(settings)? };
    EtcdStore::new(&config).map_err(Failure::new)
}

fn etcd_of(settings: &config::Settings) -> Result<EtcdConfig, Failure> {
    let resolved = settings.resolve()?;
    let tls = resolved.ca.map(|ca| EtcdTls { ca, identity: resolved.identity, domain: None });
    Ok(EtcdConfig { prefix: resolved.prefix, tls, ..EtcdConfig::new(resolved.endpoints) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_said_of_a_rollout_needs_no_other_word_before_it() {
        let cli = Cli::command();
        let rollout = cli.find_subcommand("rollout").unwrap();
        let verbs = rollout.get_subcommands().map(clap::Command::get_name);
        // The cluster has a status of its own.
        for verb in verbs.filter(|verb| *verb != "status") {
            assert!(cli.find_subcommand(verb).is_some(), "evenkeel {verb}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
