//! Simulations from the command line.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use evenkeel_sim::run::{Report, run};
use evenkeel_sim::scenario::{Scenario, Size};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "Whole clusters with their real controllers, run from one seed on simulated time")]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Hosts of a cluster [default: 3 to 8, by the seed]
    #[arg(long, global = true)]
    hosts: Option<u8>,
    /// Copies of all services, about [default: by the seed]
    #[arg(long, global = true)]
    copies: Option<u32>,
    /// How long it is rough, in simulated minutes
    #[arg(long, global = true, default_value_t = 10)]
    minutes: u64,
    /// Nothing breaks; people change documents all the same
    #[arg(long, global = true)]
    calm: bool,
}

#[derive(Subcommand)]
enum What {
    /// Run one seed
    Run {
        seed: u64,
        /// Print all that happened
        #[arg(long)]
        timeline: bool,
    },
    /// Run seeds one after another
    Many { from: u64, count: u64 },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let args = Args::parse();
    let size = Size {
        hosts: args.hosts,
        copies: args.copies,
        rough: Duration::from_secs(60 * args.minutes),
        faults: !args.calm,
    };
    match args.what {
        What::Run { seed, timeline } => {
            let report = run(&Scenario::new(seed, &size), timeline);
            for line in &report.lines {
                println!("{line}");
            }
            verdict(seed, &report)
        }
        What::Many { from, count } => {
            let mut code = ExitCode::SUCCESS;
            for seed in from..from + count {
                let report = run(&Scenario::new(seed, &size), false);
                if verdict(seed, &report) == ExitCode::FAILURE {
                    code = ExitCode::FAILURE;
                }
            }
            code
        }
    }
}

fn verdict(seed: u64, report: &Report) -> ExitCode {
    let minutes = report.took.as_secs() / 60;
    match &report.violation {
        Some((at, what)) => {
            println!("seed {seed}: {:.3} {what}", at.as_secs_f64());
            ExitCode::FAILURE
        }
        None => {
            let converged = report.converged.unwrap_or_default().as_secs();
            println!("seed {seed}: good, {minutes} min, converged in {converged} s, {:x}", report.digest.1);
            ExitCode::SUCCESS
        }
    }
}
