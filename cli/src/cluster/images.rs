//! What an image is, found out by running it.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use evenkeel_api::name::HostName;
use tokio::process::Command;
use tokio::time::timeout;

use super::deliver::quoted;
use crate::failure::Failure;

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
        format!("{} && $docker run --rm --network none {} {}", brought(image), quoted(image), self.command)
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

/// The script that pulls an image if it is not there.
fn brought(image: &str) -> String {
    let image = quoted(image);
    format!(
        "{SETTINGS}; {{ $docker image inspect {image} >/dev/null 2>&1 || $docker pull -q {image} >/dev/null; }}"
    )
}

/// Sees that each of these hosts can carry etcd by that image, and bring back a backup by it. `ask` lets a host run a script.
///
/// # Errors
/// One cannot, or is not reached.
pub async fn can_carry(
    image: &str,
    hosts: impl IntoIterator<Item = (&HostName, Ipv4Addr)>,
    ask: impl AsyncFn(Ipv4Addr, String) -> Result<String, Failure>,
) -> Result<(), Failure> {
    for (host, address) in hosts {
        // By itself: an image that is not there lacks no program.
        ask(address, brought(image)).await.map_err(|failure| {
            Failure::new(format!("{host} cannot have the image {image}: {failure}; nothing was changed"))
        })?;
        for trial in [ETCD, ETCDUTL] {
            let answer = ask(address, trial.script(image)).await.map_err(|failure| failure.message);
            trial.judge(answer).map_err(|why| {
                Failure::new(format!(
                    "{image} on {host}: {why}. Push one with both under another name, and say that instead; nothing was changed"
                ))
            })?;
        }
    }
    Ok(())
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

    #[tokio::test]
    async fn each_host_is_asked_before_etcd_gets_another_image() {
        let names = ["h1", "h2"].map(|name| name.parse::<HostName>().unwrap());
        let hosts = || names.iter().zip([1, 2].map(|n| Ipv4Addr::new(10, 0, 0, n)));
        // What the image has on the second host, and what is told.
        for (has, told) in [
            ("image etcd etcdutl", None),
            ("image etcd", Some("r/etcd:2 on h2: it has no program etcdutl")),
            ("image etcdutl", Some("r/etcd:2 on h2: it has no program etcd ")),
            ("", Some("h2 cannot have the image r/etcd:2: no such image")),
        ] {
            let ask = async |address: Ipv4Addr, script: String| {
                let has =
                    |what: &str| address == Ipv4Addr::new(10, 0, 0, 1) || has.split(' ').any(|it| it == what);
                let (program, says) = match script.split_once(" 'r/etcd:2' etcd") {
                    None => ("image", ""),
                    Some((_, rest)) if rest.starts_with("utl ") => ("etcdutl", "  --bump-revision uint"),
                    Some(_) => ("etcd", "etcd Version: 3.5.31"),
                };
                if has(program) {
                    Ok(says.to_owned())
                } else {
                    Err(Failure::new(format!("no such {program}")))
                }
            };
            let failure = can_carry("r/etcd:2", hosts(), ask).await.err().map(|failure| failure.message);
            match told {
                None => assert_eq!(failure, None),
                Some(text) => assert!(
                    failure
                        .as_ref()
                        .is_some_and(|it| it.starts_with(text) && it.ends_with("nothing was changed")),
                    "{failure:?}"
                ),
            }
        }
    }
}
