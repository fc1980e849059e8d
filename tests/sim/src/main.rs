//! Simulations from the command line.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use evenkeel_sim::run::{Report, run};
use evenkeel_sim::scenario::{Scenario, Size};
use evenkeel_sim::shrink::{shortest, shrink};
use evenkeel_sim::soak::soak;
use tracing_subscriber::EnvFilter;

/// Whole clusters with their real controllers, run from one seed on simulated time
#[derive(Parser)]
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
        /// Print all that happened, not only the last of it
        #[arg(long)]
        timeline: bool,
    },
    /// Run seeds one after another
    Many { from: u64, count: u64 },
    /// Find the fewest steps with which a seed still fails
    Shrink { seed: u64 },
    /// Run seeds on all cores for a time
    Soak {
        /// The first seed
        from: u64,
        /// How long, in real seconds
        seconds: u64,
        /// Threads [default: one a core]
        #[arg(long)]
        workers: Option<usize>,
    },
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
            let scenario = Scenario::new(seed, &size);
            let report = run(&scenario, timeline);
            for line in &report.lines {
                println!("{line}");
            }
            verdict(&scenario, &report)
        }
        What::Many { from, count } => {
            let mut code = ExitCode::SUCCESS;
            for seed in from..from.saturating_add(count) {
                let scenario = Scenario::new(seed, &size);
                if verdict(&scenario, &run(&scenario, false)) == ExitCode::FAILURE {
                    code = ExitCode::FAILURE;
                }
            }
            code
        }
        What::Shrink { seed } => {
            let short = shrink(&Scenario::new(seed, &size), |how| eprintln!("{how}"));
            let report = run(&short, true);
            for line in &report.lines {
                println!("{line}");
            }
            println!("{short}");
            judged(seed, &report)
        }
        What::Soak { from, seconds, workers } => soaked(&size, from, seconds, workers),
    }
}

fn soaked(size: &Size, from: u64, seconds: u64, workers: Option<usize>) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = workers.unwrap_or(cores);
    let tally = soak(from, size, Duration::from_secs(seconds), workers, |seed, report| {
        if report.violation.is_some() {
            verdict(&Scenario::new(seed, size), report);
        }
    });
    let acts: Vec<String> = tally.acts.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    println!("seeds from {from}: {} runs, {:.2} cluster-days", tally.runs, tally.cluster_days());
    println!("slowest to converge: {} s", tally.slowest.as_secs());
    println!("acts: {}", acts.join(", "));
    println!("violations: {}", tally.failed.len());
    tally.lines().iter().for_each(|line| println!("{line}"));
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of one that fails, also the shortest beginning that does.
fn verdict(scenario: &Scenario, report: &Report) -> ExitCode {
    if report.violation.is_some() {
        println!("{}", shortest(scenario));
    }
    judged(scenario.seed, report)
}

fn judged(seed: u64, report: &Report) -> ExitCode {
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
