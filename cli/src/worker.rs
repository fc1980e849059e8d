//! The worker: makes the edges, hands each controller its own, and runs them on one thread.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use evenkeel_api::key::Controller as Name;
use evenkeel_api::name::HostName;
use evenkeel_engine::{Deadlines, Docker, Engine, Inside};
use evenkeel_fabric::LinuxFabric;
use evenkeel_manager::host::machine::Linux;
use evenkeel_manager::{dns, healthcheck, host, instance, network, service, watchdog};
use evenkeel_names::handover::Sockets;
use evenkeel_runtime::disk::StateDir;
use evenkeel_runtime::env::Env;
use evenkeel_runtime::store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::commands::controller::Controller;
use crate::config::Settings;
use crate::parent;

type Failed = Box<dyn Error + Send + Sync>;

/// Runs the controllers until SIGTERM; ends with a failure as soon as one of them does, to be started anew.
pub fn run(args: &Controller, settings: &Settings) -> ExitCode {
    log(&args.log);
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

fn log(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|error| {
        eprintln!("evenkeel: --log {level:?} is no filter ({error}); logging at info");
        EnvFilter::new("info")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// What several controllers share.
struct Edges<'a> {
    args: &'a Controller,
    settings: &'a Settings,
    host: HostName,
    env: Arc<Env>,
    store: Arc<dyn Store>,
    engine: Option<Arc<dyn Engine>>,
}

async fn work(args: &Controller, settings: &Settings) -> Result<(), Failed> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sockets = parent::sockets()?;
    let mut edges = Edges {
        args,
        settings,
        host: name(args)?,
        env: Arc::new(Env::system()?),
        store: Arc::new(crate::connect(settings).map_err(|failure| failure.message)?),
        engine: None,
    };
    let mut sockets = Some(sockets);
    let mut tasks: JoinSet<Result<(), Failed>> = JoinSet::new();
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
    let (store, env, host) = (edges.store.clone(), edges.env.clone(), edges.host.clone());
    let (state_dir, leads) = (StateDir::from(args.state_dir.clone()), args.lead);
    match name {
        Name::Host => {
            let boot_id = std::fs::read_to_string(&args.boot_id_file)
                .map_err(|error| format!("{}: {error}", args.boot_id_file.display()))?;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let deps = host::HostDeps {
                store,
                // A connection of its own: nothing may queue in front of the lease.
                lease_store: Arc::new(crate::connect(edges.settings).map_err(|failure| failure.message)?),
                env,
                engine: edges.engine(),
                machine: Arc::new(Linux),
                host,
                state_dir,
                settings: host::HostSettings {
                    sessions: args.sessions(),
                    ..host::HostSettings::new(args.address, boot_id.trim().to_owned(), version)
                },
            };
            tasks.spawn(async { Ok(host::run(deps).await?) });
        }
        Name::Network => {
            let deps = network::NetworkDeps {
                store,
                env,
                engine: edges.engine(),
                fabric: Arc::new(LinuxFabric::new()?),
                host,
                state_dir,
                leads,
                etcd: etcd_addresses(edges.settings)?,
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
            };
            tasks.spawn(async { Ok(service::run(deps).await?) });
        }
        Name::Healthcheck => {
            let probe = Arc::new(evenkeel_probe::Network::new(&args.state_dir));
            let deps = healthcheck::HealthcheckDeps { store, env, host, state_dir, probe, may_lead: leads };
            tasks.spawn(async { Ok(healthcheck::run(deps).await?) });
        }
        Name::Instance => {
            let deps = instance::InstanceDeps {
                store,
                env,
                engine: edges.engine(),
                host,
                state_dir,
                policy: args.policy.clone(),
                registry_auth: args.registry_auth.clone(),
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
            };
            tasks.spawn(async { Ok(dns::run(deps).await?) });
        }
        Name::Watchdog => {
            let deps = watchdog::WatchdogDeps {
                store: Arc::new(
                    crate::connect_impatiently(edges.settings).map_err(|failure| failure.message)?,
                ),
                env,
                host,
                state_dir,
                cgroups: Arc::new(watchdog::LinuxCgroups::new(&args.cgroup)),
            };
            tasks.spawn(async { Ok(watchdog::run(deps).await?) });
        }
    }
    Ok(())
}

impl Edges<'_> {
    /// The engine, one client for all that need it.
    fn engine(&mut self) -> Arc<dyn Engine> {
        self.engine
            .get_or_insert_with(|| Arc::new(Docker::new(&self.args.docker, Deadlines::default())))
            .clone()
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
