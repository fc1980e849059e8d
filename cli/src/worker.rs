//! The worker: makes the edges, hands each controller its own, and runs them on one thread.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use evenkeel_api::key::Controller as Name;
use evenkeel_api::name::HostName;
use evenkeel_api::record::LEVEL;
use evenkeel_api::user::User;
use evenkeel_engine::{Deadlines, Docker, Engine, Inside};
use evenkeel_fabric::LinuxFabric;
use evenkeel_manager::host::machine::Linux;
use evenkeel_manager::{dns, healthcheck, host, instance, network, service, watchdog};
use evenkeel_metrics::{Build, Meter, MeteredDisk, MeteredEngine, MeteredProbe, MeteredStore, Page};
use evenkeel_names::handover::Sockets;
use evenkeel_runtime::disk::StateDir;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::Store;
use evenkeel_sessions::Identity;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::commands::controller::{Controller, LogFormat};
use crate::config::Settings;
use crate::parent;

type Failed = Box<dyn Error + Send + Sync>;

/// Runs the controllers until SIGTERM; ends with a failure as soon as one of them does, to be started anew.
pub fn run(args: &Controller, settings: &Settings) -> ExitCode {
    log(&args.log, args.log_format);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(work(args, settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    tracing::error!("{text}");
    ExitCode::FAILURE
}

fn log(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|error| {
        eprintln!("evenkeel: --log {level:?} is no filter ({error}); logging at info");
        EnvFilter::new("info")
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// What several controllers share.
struct Edges<'a> {
    args: &'a Controller,
    settings: &'a Settings,
    host: HostName,
    env: Arc<Env>,
    store: Arc<dyn Store>,
    engine: Option<Arc<dyn Engine>>,
    page: Arc<Page>,
}

async fn work(args: &Controller, settings: &Settings) -> Result<(), Failed> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sockets = parent::sockets()?;
    let env = Arc::new(Env::system()?);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let started = env.wall().0 as f64 / 1000.0;
    let mut edges = Edges {
        args,
        settings,
        host: name(args)?,
        env,
        page: Arc::new(Page::new(&Build { version, level: LEVEL, started })),
        store: Arc::new(crate::connect(settings).map_err(|failure| failure.message)?),
        engine: None,
    };
    let mut sockets = Some(sockets);
    let mut tasks: JoinSet<Result<(), Failed>> = JoinSet::new();
    if let Some(at) = args.metrics.of(&args.controllers(), args.address) {
        let page = edges.page.clone();
        tasks.spawn(async move { match evenkeel_metrics::serve(at, page).await {} });
    }
    for name in args.controllers() {
        spawn(&mut tasks, name, &mut edges, &mut sockets)?;
    }
    tracing::info!(host = %edges.host, "controllers started");
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(panic.into()),
            Some(Ok(Ok(()))) | None => Err("a controller ended by itself".into()),
        },
    }
}

/// Starts one controller with what it needs, and no more.
fn spawn(
    tasks: &mut JoinSet<Result<(), Failed>>,
    name: Name,
    edges: &mut Edges<'_>,
    sockets: &mut Option<Sockets>,
) -> Result<(), Failed> {
    let args = edges.args;
    let (env, host, meter) = (edges.env.clone(), edges.host.clone(), edges.page.meter(name));
    let state_dir = StateDir::from(args.state_dir.clone());
    let state_dir = state_dir.around(|disk| Arc::new(MeteredDisk::new(disk, meter.clone())));
    let leads = args.lead;
    let store: Arc<dyn Store> = match name {
        // A connection of its own. While there is nothing to guard it is silent, which is no news.
        Name::Watchdog => {
            let store = crate::connect_impatiently(edges.settings).map_err(|failure| failure.message)?;
            Arc::new(MeteredStore::beside(Arc::new(store), meter.clone()))
        }
        _ => Arc::new(MeteredStore::new(edges.store.clone(), meter.clone())),
    };
    match name {
        Name::Host => {
            let boot_id = std::fs::read_to_string(&args.boot_id_file)
                .map_err(|error| format!("{}: {error}", args.boot_id_file.display()))?;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let identity = crate::config::identity(edges.settings).map_err(|failure| failure.message)?;
            // A connection of its own: nothing may queue in front of the lease.
            let line = crate::connect(edges.settings).map_err(|failure| failure.message)?;
            let deps = host::HostDeps {
                store,
                lease_store: Arc::new(MeteredStore::beside(Arc::new(line), meter.clone())),
                env,
                engine: edges.engine(&meter),
                machine: Arc::new(Linux),
                host,
                state_dir,
                settings: host::HostSettings {
                    sessions: args.sessions(),
                    generation: generation(identity.as_ref()),
                    ..host::HostSettings::new(args.address, boot_id.trim().to_owned(), version)
                },
                meter,
            };
            tasks.spawn(async { Ok(host::run(deps).await?) });
        }
        Name::Network => {
            let deps = network::NetworkDeps {
                store,
                env,
                engine: edges.engine(&meter),
                fabric: Arc::new(LinuxFabric::new()?),
                host,
                state_dir,
                leads,
                etcd: etcd_addresses(edges.settings)?,
                meter,
            };
            tasks.spawn(async { Ok(network::run(deps).await?) });
        }
        Name::Service => {
            let deps = service::ServiceDeps {
                store,
                env,
                host,
                state_dir,
                leads,
                exclusive_any_etcd: args.exclusive_any_etcd,
                meter,
            };
            tasks.spawn(async { Ok(service::run(deps).await?) });
        }
        Name::Healthcheck => {
            let probe = Arc::new(evenkeel_probe::Network::new(&args.state_dir));
            let probe = Arc::new(MeteredProbe::new(probe, meter.clone()));
            let may_lead = leads;
            let deps = healthcheck::HealthcheckDeps { store, env, host, state_dir, probe, may_lead, meter };
            tasks.spawn(async { Ok(healthcheck::run(deps).await?) });
        }
        Name::Instance => {
            let deps = instance::InstanceDeps {
                store,
                env,
                engine: edges.engine(&meter),
                host,
                state_dir,
                policy: args.policy.clone(),
                registry_auth: args.registry_auth.clone(),
                meter,
                sessions: sessions(args, edges.settings)?,
            };
            tasks.spawn(async { Ok(instance::run(deps).await?) });
        }
        Name::Dns => {
            let deps = dns::DnsDeps {
                store,
                env,
                host,
                state_dir,
                resolv: args.resolv.clone(),
                sockets: sockets.take().unwrap_or(Sockets::Direct),
                port: 53,
                listen: Vec::new(),
                meter,
            };
            tasks.spawn(async { Ok(dns::run(deps).await?) });
        }
        Name::Watchdog => {
            let deps = watchdog::WatchdogDeps {
                store,
                env,
                host,
                state_dir,
                cgroups: Arc::new(watchdog::LinuxCgroups::new(&args.cgroup)),
                meter,
            };
            tasks.spawn(async { Ok(watchdog::run(deps).await?) });
        }
    }
    Ok(())
}

impl Edges<'_> {
    /// The engine, one client for all that need it.
    fn engine(&mut self, meter: &Meter) -> Arc<dyn Engine> {
        let engine = self
            .engine
            .get_or_insert_with(|| Arc::new(Docker::new(&self.args.docker, Deadlines::default())))
            .clone();
        Arc::new(MeteredEngine::new(engine, meter.clone()))
    }
}

/// Of which generation this host's users at etcd are, as its certificate says.
fn generation(identity: Option<&Identity>) -> u32 {
    match identity.and_then(|identity| identity.name().ok()?.parse().ok()) {
        Some(User::Host { generation, .. }) => generation,
        // Certificates of somebody's own making know no generations, and may have no name at all.
        _ => 0,
    }
}

/// How people reach this host's copies: over a connection to the store and one to the engine of their own, so that
/// nothing of theirs stands before the controllers'.
fn sessions(args: &Controller, settings: &Settings) -> Result<Option<instance::Sessions>, Failed> {
    let Some(port) = args.sessions() else { return Ok(None) };
    let identity = crate::config::identity(settings).map_err(|failure| failure.message)?;
    let (settings, docker) = (settings.clone(), args.docker.clone());
    let connect = move || {
        let store = crate::connect(&settings).map_err(|failure| failure.message)?;
        let parts: (Arc<dyn Store>, Arc<dyn Inside>) =
            (Arc::new(store), Arc::new(Docker::new(&docker, Deadlines::default())));
        Ok(parts)
    };
    let listen = SocketAddr::from((args.address, port));
    Ok(Some(instance::Sessions { listen, identity, connect: Arc::new(connect) }))
}

/// This host's name: as set, or the machine's own up to its first dot.
fn name(args: &Controller) -> Result<HostName, Failed> {
    if let Some(host) = &args.host {
        return Ok(host.clone());
    }
    let machine = nix::unistd::gethostname()?;
    let machine = machine.to_string_lossy();
    let short = machine.split('.').next().unwrap_or_default();
    Ok(short
        .parse()
        .map_err(|error| format!("{error}; give this host another name (--host, EVENKEEL_HOST)"))?)
}

/// The addresses of etcd's members, as far as they are addresses.
fn etcd_addresses(settings: &Settings) -> Result<BTreeSet<Ipv4Addr>, Failed> {
    let resolved = settings.resolve().map_err(|failure| failure.message)?;
    Ok(resolved
        .endpoints
        .iter()
        .filter_map(|endpoint| {
            let authority = endpoint.split("://").last()?.split('/').next()?;
            authority.rsplit_once(':').map_or(authority, |(address, _)| address).parse().ok()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_cluster::{Authority, Subject, Use};

    use super::*;

    #[test]
    fn a_generation_is_known_by_our_names_and_no_certificate_stops_a_host() {
        let folder = tempfile::tempdir().unwrap();
        let now = Duration::from_secs(1_795_982_400);
        let authority = Authority::create("a", now).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        for (name, expected) in [
            ("evenkeel.host.h2@3", 3),
            ("evenkeel.host.h2@1.host", 1),
            ("evenkeel.host.h2", 0),
            ("h2", 0),
            ("", 0),
        ] {
            let subject = Subject { name: name.to_owned(), addresses: Vec::new(), usage: Use::Client };
            let pair = authority.issue(&subject, now).unwrap();
            let [ca, cert, key] = [("ca", &authority.pair.cert), ("crt", &pair.cert), ("key", &pair.key)]
                .map(|(at, text)| file(at, text));
            assert_eq!(generation(Some(&Identity { ca, cert, key })), expected, "{name:?}");
        }
        assert_eq!(generation(None), 0);
    }
}
