//! Tables for people, JSON and YAML for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use evenkeel_api::record::Timestamp;
use serde::Serialize;

use crate::columns;
use crate::failure::Failure;
use crate::sessions::terminal;
use crate::visible;

/// Prints a line. A reader that has seen enough, as `head` has, ends the command without a word: that is
/// no failure of anybody.
macro_rules! say {
    () => { $crate::output::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::output::line(format_args!($($arg)*)) };
}
pub(crate) use say;

/// See [`say`]. A terminal is given nothing that it would obey but colours.
pub fn line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let written = match out.is_terminal() {
        true => out.write_all(&visible::line(text.to_string().as_bytes())).and_then(|()| writeln!(out)),
        false => writeln!(out, "{text}"),
    };
    if let Err(error) = written {
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}

/// Tells a person something on standard error, and goes on.
macro_rules! complain {
    ($($arg:tt)*) => { $crate::output::aside("evenkeel", &format!($($arg)*)) };
}
pub(crate) use complain;

/// A line on standard error, with who says it. Whatever a host or a container put into it, a terminal does not obey it.
pub fn aside(who: &str, text: &str) {
    eprintln!("{who}: {}", visible::text(text));
}

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
    /// YAML for programs and people.
    Yaml,
}

/// Print `value` for a program.
///
/// # Errors
/// It cannot be written as that format.
pub fn structured<T: Serialize>(format: Format, value: &T) -> Result<(), Failure> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(Failure::new)?,
        Format::Table | Format::Json => serde_json::to_string_pretty(value).map_err(Failure::new)?,
    };
    say!("{}", text.trim_end());
    Ok(())
}

/// Print rows under `header`, or `nothing` where there are none: as wide as the terminal is, and a line each where
/// there is none.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, nothing: &str) {
    if rows.is_empty() {
        say!("{nothing}");
        return;
    }
    let width = terminal::size().map(|size| usize::from(size.columns));
    for line in columns::lines(header, rows, width) {
        say!("{line}");
    }
}

/// Whether colours and progress are wanted: a terminal that nobody asked to keep plain.
pub fn is_lively() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Bytes in GiB, to one digit: `23.5G`.
pub fn gib(bytes: u64) -> String {
    format!("{:.1}G", bytes as f64 / f64::from(1 << 30))
}

/// How long ago, in one or two units: `3m12s`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = (now.0 - since.0).max(0) / 1000;
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, shown) in [(-5, "0s"), (59, "59s"), (192, "3m12s"), (7260, "2h01m"), (90_000, "1d01h")]
        {
            assert_eq!(age(Timestamp(0), Timestamp(seconds * 1000)), shown);
        }
    }
}
