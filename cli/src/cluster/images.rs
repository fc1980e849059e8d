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

/// What an image says to `command`; it is pulled if it is not here.
///
/// # Errors
/// Why not.
pub async fn run(image: &str, command: &str) -> Result<String, String> {
    let image = quoted(image);
    let script = format!(
        "{SETTINGS}; {{ $docker image inspect {image} >/dev/null 2>&1 || $docker pull -q {image} >/dev/null; }} && \
         $docker run --rm --network none {image} {command}"
    );
    let output =
        Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(WITHIN, output)
        .await
        .map_err(|_| "it could not be pulled in five minutes".to_owned())?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
