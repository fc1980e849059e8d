//! `evenkeel import`: Compose files to documents, without a cluster.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use evenkeel_api::name::Namespace;
use evenkeel_compose::{Import as Imported, NoFile, Options, Severity, World, import};

use crate::failure::Failure;
use crate::output::{Format, say, structured};

/// What to import.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel import compose.yaml >shop.yaml                                documents, and on standard error what became of the rest
  evenkeel import compose.yaml compose.prod.yaml -n shop --to shop.yaml
  evenkeel import compose.yaml --files-at /srv/shop                      relative mounts lie there, on every host

Exit codes: 0 all is imported, 1 nothing is, 3 something is refused or to be decided: it stands in the documents as comments")]
pub struct Import {
    /// Compose files, each laid over the ones before it (- is standard input)
    #[arg(required = true, value_name = "FILE|-")]
    files: Vec<PathBuf>,
    /// Files with variables, instead of .env beside the first file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Profiles whose services are wanted; '*' is all
    #[arg(long, value_name = "PROFILE")]
    profile: Vec<String>,
    /// The namespace of all services [default: the project's name, as by Compose]
    #[arg(short, long, env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Where the folder of the first file lies on the hosts: relative mounts are written below it
    #[arg(long, value_name = "DIR")]
    files_at: Option<PathBuf>,
    /// Where the documents go (- is standard output)
    #[arg(long, default_value = "-", value_name = "FILE|-")]
    to: PathBuf,
}

impl Import {
    /// Prints the documents, and tells on standard error what became of everything else.
    ///
    /// # Errors
    /// No service was imported; or something was refused, or needs a decision.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        let options = Options {
            files: self.files.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
            namespace: self.namespace.clone(),
            files_at: self.files_at.clone(),
        };
        let imported = import(&options, &Machine { directory: std::env::current_dir()? });
        for finding in &imported.findings {
            eprintln!("{finding}");
        }
        self.write(&imported, format)?;
        conclude(&imported)
    }

    fn write(&self, imported: &Imported, format: Format) -> Result<(), Failure> {
        let documents = imported.documents();
        if self.to.as_os_str() != "-" {
            if imported.objects.is_empty() {
                return Ok(());
            }
            return std::fs::write(&self.to, documents)
                .map_err(|error| Failure::new(format!("{}: {error}", self.to.display())));
        }
        if format != Format::Table {
            return structured(format, imported);
        }
        documents.lines().for_each(|line| say!("{line}"));
        Ok(())
    }
}

fn conclude(imported: &Imported) -> Result<(), Failure> {
    let all = imported.objects.len();
    let [refused, decide, changed] =
        [Severity::Refused, Severity::Decide, Severity::Changed].map(|severity| imported.count(severity));
    let counts = [
        count(refused, "refusal", "refusals"),
        count(decide, "decision needed", "decisions needed"),
        count(changed, "change", "changes"),
    ]
    .join(", ");
    let summary = format!("{} of {all} documents imported; {counts}", imported.imported());
    if imported.services() == 0 {
        return Err(Failure::new(format!(
            "no service was imported; {}, {}",
            count(refused, "refusal", "refusals"),
            count(decide, "decision needed", "decisions needed")
        )));
    }
    eprintln!("{summary}");
    if refused + decide > 0 {
        eprintln!(
            "what is refused or to be decided stands as comments in the documents, above what it is about"
        );
        // It is all said, and nothing went wrong.
        return Err(Failure::not_converged(""));
    }
    Ok(())
}

fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// The files and variables of this machine.
struct Machine {
    directory: PathBuf,
}

/// The most that is read of one file: what a device or a pipe would give has no end.
const LONGEST: u64 = 16 * 1024 * 1024;

/// All of it, or nothing: half a file would mean something else.
fn whole(reader: impl Read) -> Result<String, NoFile> {
    let mut text = String::new();
    let read = reader.take(LONGEST + 1).read_to_string(&mut text);
    let read = read.map_err(|error| NoFile::Unreadable(error.to_string()))?;
    if read as u64 > LONGEST {
        return Err(NoFile::Unreadable(format!("it has more than {} MiB", LONGEST >> 20)));
    }
    Ok(text)
}

impl World for Machine {
    fn read(&self, path: &Path) -> Result<String, NoFile> {
        let why = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => NoFile::Missing,
            _ => NoFile::Unreadable(error.to_string()),
        };
        if path.as_os_str() == "-" {
            return whole(std::io::stdin());
        }
        whole(std::fs::File::open(path).map_err(why)?)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_a_whole_or_not_at_all() {
        let file = |bytes: u64| std::io::repeat(b'x').take(bytes);
        assert_eq!(whole(file(LONGEST)).unwrap().len() as u64, LONGEST);
        for endless in [file(LONGEST + 1), file(u64::MAX)] {
            let Err(NoFile::Unreadable(why)) = whole(endless) else { panic!("it was cut") };
            assert!(why.contains("16 MiB"), "{why}");
        }
        assert!(matches!(whole(&[0xff][..]), Err(NoFile::Unreadable(_))));
    }
}
