//! `evenkeel exec`: a command in a copy, on whichever host it is.

use std::io::IsTerminal;

use clap::Args;
use evenkeel_api::name::Namespace;
use evenkeel_api::session::Action;
use evenkeel_sessions::{Broken, Frame, Receiver, Sender};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Settings;
use crate::failure::Failure;
use crate::sessions::Desk;
use crate::sessions::console::{Console, Out, input};
use crate::sessions::stop::{Stop, stopped};
use crate::sessions::target::Target;
use crate::sessions::terminal::{Raw, size};

/// Where, and what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel exec shop/web -- nginx -t              in its first ready copy, or one that runs
  evenkeel exec -it shop.db.1.4 -- psql           on a terminal
  evenkeel exec -i shop/db -- psql <dump.sql      with what stands in a file

Its exit code is the command's. It may be done by whoever may change the namespace, and leaves an event. When the connection
ends before the command, the command runs on.")]
pub struct Exec {
    /// SERVICE, NAMESPACE/SERVICE, or a copy as `evenkeel get copies` shows it
    #[arg(value_name = "SERVICE|COPY")]
    target: String,
    /// The namespace of a service that is named without one
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// With what is typed
    #[arg(short, long)]
    interactive: bool,
    /// On a terminal
    #[arg(short, long)]
    tty: bool,
    /// The command, and its words
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    /// Runs it to its end.
    ///
    /// # Errors
    /// There is no such copy, one may not, the connection breaks; or the command ends with another exit code than 0.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        if self.tty && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            return Err(Failure::new("there is no terminal here: leave out -t"));
        }
        let target = Target::read(&self.target, self.namespace.as_ref())?;
        let desk = Desk::new(settings)?;
        let (copy, host) = target.one(&desk.store).await?;
        let (command, tty, stdin) = (self.command.clone(), self.tty, self.interactive);
        let begun = desk.ask(&host, Action::Exec { copy, command, tty, stdin }).await?;
        // From here on somebody else sees to signals: first the terminal is as it was, then we end.
        let mut stop = if self.takes_the_terminal() { Some(Stop::watch()?) } else { None };
        let raw = if self.takes_the_terminal() { Some(Raw::take()?) } else { None };
        let resized = if tty { Some(signal(SignalKind::window_change())?) } else { None };
        let (sender, mut receiver) = begun.link.split();
        let console = Console::new();
        let ended = tokio::select! {
            ended = show(&mut receiver, &console) => ended,
            gone = type_in(&sender, stdin, resized) => Err(gone),
            stopped = stopped(&mut stop) => {
                drop(raw);
                return Err(stopped);
            }
        };
        console.finish();
        drop(raw);
        match ended {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(code)) => Err(Failure { code: exit_code(code), message: String::new() }),
            Ok(Err(why)) => Err(Failure::new(format!("host {host}: {why}"))),
            Err(broken) => Err(Failure::new(format!("host {host}: {broken}; the command may run on"))),
        }
    }

    /// Only where keys go to the command: else nobody would hear Ctrl-C.
    fn takes_the_terminal(&self) -> bool {
        self.tty && self.interactive
    }
}

/// What the command writes, until it ends: its exit code, or why it was not begun.
async fn show(receiver: &mut Receiver, console: &Console) -> Result<Result<i64, String>, Broken> {
    loop {
        let (out, data) = match receiver.receive().await? {
            Frame::Output(data) => (Out::Output, data),
            Frame::Error(data) => (Out::Error, data),
            Frame::End(code) => return Ok(Ok(code)),
            Frame::Refused(why) => return Ok(Err(why)),
            _ => continue,
        };
        // A reader that has seen enough does not end the command.
        let _nobody = console.write(out, data).await;
    }
}

/// What a person types, and how large their terminal is; ends with the connection.
async fn type_in(sender: &Sender, stdin: bool, mut resized: Option<Signal>) -> Broken {
    let mut typed = stdin.then(input);
    if let Err(broken) = tell_size(sender, resized.is_some()).await {
        return broken;
    }
    loop {
        let sent = tokio::select! {
            data = async { match &mut typed { Some(typed) => typed.recv().await, None => std::future::pending().await } } => {
                if data.is_none() {
                    typed = None;
                }
                sender.send(data.map_or(Frame::InputEnd, Frame::Input)).await
            }
            () = async { match &mut resized { Some(resized) => drop(resized.recv().await), None => std::future::pending().await } } => {
                tell_size(sender, true).await
            }
        };
        if let Err(broken) = sent {
            return broken;
        }
    }
}

async fn tell_size(sender: &Sender, is_terminal: bool) -> Result<(), Broken> {
    match size().filter(|_| is_terminal) {
        Some(size) => sender.send(Frame::Resize(size)).await,
        None => Ok(()),
    }
}

/// As a process can end with it.
fn exit_code(code: i64) -> u8 {
    u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_taken_only_where_its_keys_go_to_the_command() {
        for (tty, interactive, taken) in
            [(false, false, false), (false, true, false), (true, false, false), (true, true, true)]
        {
            let (target, command) = ("shop/web".to_owned(), vec!["top".to_owned()]);
            let exec = Exec { target, namespace: None, interactive, tty, command };
            assert_eq!(exec.takes_the_terminal(), taken, "-t {tty} -i {interactive}");
        }
    }

    #[test]
    fn a_failure_stays_one_however_it_is_counted() {
        for (code, ours) in [(1, 1), (127, 127), (255, 255), (256, 1), (-1, 255)] {
            assert_eq!(exit_code(code), ours, "{code}");
        }
    }
}
