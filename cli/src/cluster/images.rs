//! What an image is, found out by running it on this machine.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::deliver::quoted;

/// The host's settings, as its scripts find them.
pub const SETTINGS: &str = "for f in cluster.env host.env; do [ ! -r /etc/evenkeel/$f ] || . /etc/evenkeel/$f; done; \
                            docker=${EVENKEEL_DOCKER_CLI:-docker}";
/// A registry that does not answer would be waited for much longer.
const WITHIN: Duration = Duration::from_secs(300);

/// What an image is asked, to know whether it does for what it shall be.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    command: &'static str,
    /// How a line of the answer begins.
    begins: &'static str,
    /// What is the matter with an image that answers otherwise, or not at all.
    lacks: &'static str,
}

/// The controllers.
pub const CONTROLLERS: Trial =
    Trial { command: "--version", begins: "evenkeel ", lacks: "it is no image of evenkeel's controllers" };
/// What runs etcd.
pub const ETCD: Trial =
    Trial { command: "etcd --version", begins: "etcd ", lacks: "it has no program etcd on its path" };
/// What brings a backup back: in the very image, as a host has no other programs of etcd.
pub const ETCDUTL: Trial = Trial {
    command: "etcdutl snapshot restore --help",
    begins: "--bump-revision",
    lacks: "it has no program etcdutl on its path, of etcd 3.5.30 or later, by which backups are restored: put it in, beside \
            etcd (charts/host/README.md, the images)",
};

impl Trial {
    /// The script that asks; the image is pulled if it is not there.
    pub fn script(&self, image: &str) -> String {
        let (image, command) = (quoted(image), self.command);
        format!(
            "{SETTINGS}; {{ $docker image inspect {image} >/dev/null 2>&1 || $docker pull -q {image} >/dev/null; }} && \
             $docker run --rm --network none {image} {command}"
        )
    }

    /// What is wrong with an image that answers so.
    ///
    /// # Errors
    /// That.
    pub fn judge(&self, answer: Result<String, String>) -> Result<(), String> {
        let said = match answer {
            Ok(said) if said.lines().any(|line| line.trim_start().starts_with(self.begins)) => return Ok(()),
            Ok(said) => said.lines().next().unwrap_or_default().to_owned(),
            Err(why) => why,
        };
        Err(format!("{}; to `{}` it says «{said}»", self.lacks, self.command))
    }

    /// Tries it on this machine.
    ///
    /// # Errors
    /// What is wrong with the image, or why it cannot be told.
    pub async fn here(&self, image: &str) -> Result<(), String> {
        self.judge(run(&self.script(image)).await)
    }
}

async fn run(script: &str) -> Result<String, String> {
    let output =
        Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(WITHIN, output)
        .await
        .map_err(|_| "it could not be pulled in five minutes".to_owned())?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_does_if_it_answers_as_it_should() {
        let help = "Usage:\n  etcdutl snapshot restore <filename> [flags]\n\nFlags:\n      --bump-revision uint   x\n";
        let old =
            "Usage:\n  etcdutl snapshot restore <filename> [flags]\n\nFlags:\n      --data-dir string   x\n";
        for (trial, answer, expected) in [
            (CONTROLLERS, Ok("evenkeel 0.2.0 (level 3)"), None),
            (CONTROLLERS, Ok("nginx 1"), Some("no image of evenkeel's controllers")),
            (ETCD, Ok("etcd Version: 3.5.30"), None),
            (ETCD, Err("exec: \"etcd\": not found"), Some("no program etcd ")),
            (ETCDUTL, Ok(help), None),
            (ETCDUTL, Ok(old), Some("no program etcdutl on its path, of etcd 3.5.30 or later")),
            (ETCDUTL, Err("exec: \"etcdutl\": not found"), Some("put it in, beside etcd")),
        ] {
            let judged = trial.judge(answer.map(str::to_owned).map_err(str::to_owned));
            match expected {
                None => assert_eq!(judged, Ok(()), "{answer:?}"),
                Some(text) => assert!(judged.clone().unwrap_err().contains(text), "{judged:?}"),
            }
        }
    }
}
