//! `evenkeel controller`: the controllers of this host, as a small parent and the worker that it restarts.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evenkeel_api::key::Controller as Name;
use evenkeel_api::name::HostName;

use crate::config::Settings;
use crate::figures::Figures;
use crate::{parent, worker};

/// Which controllers, and where they find what they need.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  evenkeel controller all --address 10.0.0.11        all of a host
  evenkeel controller dns --address 10.0.0.11        the names alone

Hosts that `evenkeel init` and `evenkeel host add` make run it by themselves, in a container.")]
pub struct Controller {
    /// host, network, service, healthcheck, instance, dns, watchdog, or all
    #[arg(required = true, value_name = "NAME", value_parser = names)]
    names: Vec<Names>,
    /// This process is the worker of a parent that holds its sockets
    #[arg(long, hide = true)]
    worker: bool,
    /// The same, and of the wanted controllers it runs the watchdog alone
    #[arg(long, hide = true)]
    watchdog: bool,
    /// This host's name in the cluster [default: the machine's short host name]
    #[arg(long, env = "EVENKEEL_HOST", value_name = "NAME")]
    pub host: Option<HostName>,
    /// This host's address on the LAN
    #[arg(long, env = "EVENKEEL_ADDRESS", value_name = "ADDRESS")]
    pub address: Ipv4Addr,
    /// Where controllers keep what they must know without etcd
    #[arg(long, env = "EVENKEEL_STATE_DIR", value_name = "DIR", default_value = "/var/lib/evenkeel")]
    pub state_dir: PathBuf,
    /// The engine's socket
    #[arg(long, env = "EVENKEEL_DOCKER", value_name = "SOCKET", default_value = "/var/run/docker.sock")]
    pub docker: PathBuf,
    /// File that holds another text after every boot
    #[arg(
        long,
        env = "EVENKEEL_BOOT_ID_FILE",
        value_name = "FILE",
        default_value = "/proc/sys/kernel/random/boot_id"
    )]
    pub boot_id_file: PathBuf,
    /// The host's cgroups, by which the watchdog ends exclusive copies
    #[arg(long, env = "EVENKEEL_CGROUP", value_name = "DIR", default_value = "/sys/fs/cgroup")]
    pub cgroup: PathBuf,
    /// What this host allows; absent: nothing beyond the harmless
    #[arg(long, env = "EVENKEEL_POLICY", value_name = "FILE", default_value = "/etc/evenkeel/policy.yaml")]
    pub policy: PathBuf,
    /// Credentials for registries, in the form of Docker's config.json
    #[arg(
        long,
        env = "EVENKEEL_REGISTRY_AUTH",
        value_name = "FILE",
        default_value = "/etc/evenkeel/registry.json"
    )]
    pub registry_auth: PathBuf,
    /// The resolvers that outside names are asked of
    #[arg(long, env = "EVENKEEL_RESOLV", value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv: PathBuf,
    /// The port at which people reach the copies of this host (`evenkeel logs`, `exec` and so on); 0: none
    #[arg(long, env = "EVENKEEL_SESSIONS_PORT", value_name = "PORT", default_value_t = evenkeel_api::session::PORT)]
    pub sessions_port: u16,
    /// Controllers here may lead
    #[arg(long, env = "EVENKEEL_LEAD", value_name = "BOOL", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub lead: bool,
    /// Exclusive services also on an etcd whose reads may be stale (3.4.20 to 3.4.41): after a pause of one of
    /// its members there may be two copies
    #[arg(long, env = "EVENKEEL_EXCLUSIVE_ANY_ETCD", value_name = "BOOL", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub exclusive_any_etcd: bool,
    /// Where figures for Prometheus are served: [ADDRESS:]PORT, by default of the host's own address, or `off`.
    /// A controller that runs alone has a port of its own behind this one: host 1, network 2, service 3,
    /// healthcheck 4, instance 5, dns 6, watchdog 7
    #[arg(long, env = "EVENKEEL_METRICS", value_name = "PORT", default_value = "7460")]
    pub metrics: Figures,
    /// What is logged: error, warn, info, debug, or a filter like evenkeel_manager=debug
    #[arg(long, env = "EVENKEEL_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: String,
    /// How: one line of text each, or one JSON object
    #[arg(long, env = "EVENKEEL_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// One controller, or all of them.
#[derive(Debug, Clone)]
struct Names(Vec<Name>);

fn names(text: &str) -> Result<Names, String> {
    if text == "all" { Ok(Names(Name::ALL.to_vec())) } else { text.parse().map(|name| Names(vec![name])) }
}

impl Controller {
    /// The controllers that this worker runs, in the order in which they start. The watchdog has a process of
    /// its own: it must not hang with the others.
    pub fn controllers(&self) -> Vec<Name> {
        self.wanted().filter(|name| (*name == Name::Watchdog) == self.watchdog).collect()
    }

    /// The port for sessions, if there is to be one.
    pub fn sessions(&self) -> Option<u16> {
        Some(self.sessions_port).filter(|port| *port != 0)
    }

    fn wanted(&self) -> impl Iterator<Item = Name> {
        Name::ALL.into_iter().filter(|name| self.names.iter().any(|names| names.0.contains(name)))
    }

    /// Runs them, as parent or as worker, until the process is told to end.
    pub fn run(&self, settings: &Settings) -> ExitCode {
        if self.worker || self.watchdog {
            return worker::run(self, settings);
        }
        // All that this process was given, but for the word `controller`, which the parent says itself.
        let mut said = false;
        let args: Vec<_> = std::env::args_os()
            .skip(1)
            .filter(|arg| said || arg != "controller" || std::mem::replace(&mut said, true))
            .collect();
        let others = self.wanted().any(|name| name != Name::Watchdog).then_some("--worker");
        let watchdog = self.wanted().any(|name| name == Name::Watchdog).then_some("--watchdog");
        parent::run(others.into_iter().chain(watchdog), &args)
    }
}
