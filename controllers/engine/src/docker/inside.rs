//! What people reach in a running copy, on a real engine.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerCpuStats, ContainerStatsResponse};
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, LogsOptionsBuilder, StatsOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::errors::told;
use super::{Docker, Session, raw};
use crate::engine::EngineError;
use crate::inside::{Archive, Incoming, Inside, Lines, Output, Piece, Running, Used};

/// How often, and with which pause, a command whose output ended is asked for its exit code.
const EXIT_LOOKS: u32 = 50;
const EXIT_LOOK: Duration = Duration::from_millis(100);
/// For a whole archive on its way in: as slow as somebody's line.
const ARCHIVE: Duration = Duration::from_secs(24 * 3600);

#[async_trait]
impl Inside for Docker {
    async fn logs(&self, container: &str, lines: Lines) -> Result<Output, EngineError> {
        let tail = lines.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string());
        let since = lines.since.and_then(|since| i32::try_from(since.0 / 1000).ok()).unwrap_or(0);
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true);
        let options = options.follow(lines.follow).since(since).tail(&tail).build();
        let what = format!("read the logs of {container}");
        let has_terminal = self
            .call(&what, self.deadlines.read, |session| async move {
                let found = session.client.inspect_container(container, None).await?;
                Ok(found.config.and_then(|config| config.tty).unwrap_or(false))
            })
            .await?;
        let session = self.session().await?;
        if !has_terminal {
            return Ok(pieces(what, session.client.logs(container, Some(options))));
        }
        let Lines { follow, .. } = lines;
        let query = format!("stdout=1&stderr=1&timestamps=1&follow={follow}&since={since}&tail={tail}");
        // Of the older version, an answer comes in no chunks.
        let request = format!("GET {}/containers/{container}/logs?{query} HTTP/1.0", prefix(&session));
        let wire = self.raw(&what, &request, "").await?;
        Ok(Box::pin(
            raw::lines(wire).map(move |line| line.map(Piece::Output).map_err(|error| broke(&what, &error))),
        ))
    }

    async fn attach(
        &self,
        container: &str,
        argv: &[String],
        tty: bool,
        stdin: bool,
    ) -> Result<Running, EngineError> {
        let options = CreateExecOptions {
            attach_stdin: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            cmd: Some(argv.to_vec()),
            ..CreateExecOptions::default()
        };
        let what = format!("exec in {container}");
        if tty {
            return self.attach_terminal(what, container, options).await;
        }
        let (id, started) = self
            .call(&what, self.deadlines.write, |session| async move {
                let made = session.client.create_exec(container, options).await?;
                let start = StartExecOptions { detach: false, tty: false, output_capacity: None };
                let started = session.client.start_exec(&made.id, Some(start)).await?;
                Ok((made.id, started))
            })
            .await?;
        match started {
            StartExecResults::Attached { output, input } => {
                Ok(Running { id, output: pieces(what, output), input })
            }
            StartExecResults::Detached => Err(EngineError::Garbled(format!("{what}: it was detached"))),
        }
    }

    async fn resize(&self, command: &str, columns: u16, rows: u16) -> Result<(), EngineError> {
        let size = ResizeExecOptions { width: columns, height: rows };
        self.call("resize a terminal", self.deadlines.write, |session| async move {
            session.client.resize_exec(command, size).await
        })
        .await
    }

    async fn exit_code(&self, command: &str) -> Result<i64, EngineError> {
        let what = "ask for an exit code";
        for _ in 0..EXIT_LOOKS {
            let told = self.call(what, self.deadlines.read, |session| async move {
                session.client.inspect_exec(command).await
            });
            if let Some(code) = told.await?.exit_code {
                return Ok(code);
            }
            // What it wrote has ended before it has.
            tokio::time::sleep(EXIT_LOOK).await;
        }
        Err(EngineError::Timeout(what.to_owned()))
    }

    async fn fetch(&self, container: &str, path: &str) -> Result<Archive, EngineError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let what = format!("read {path} in {container}");
        let session = self.session().await?;
        let client = session.client;
        let mut archive = Box::pin(client.download_from_container(container, Some(options)));
        // Whether it is there at all is told at once, not in the middle.
        let first = match tokio::time::timeout(self.deadlines.write, archive.next()).await {
            Ok(first) => first.transpose().map_err(|error| told(&what, error))?,
            Err(_) => return Err(EngineError::Timeout(what)),
        };
        let rest = archive.map_err(move |error| told(&what, error));
        Ok(Box::pin(stream::iter(first.map(Ok)).chain(rest)))
    }

    async fn store(&self, container: &str, path: &str, archive: Incoming) -> Result<(), EngineError> {
        // A file never takes the place of a folder, and what is in it, nor a folder that of a file.
        let options =
            UploadToContainerOptionsBuilder::new().path(path).no_overwrite_dir_non_dir("true").build();
        let body = bollard::body_try_stream(archive);
        self.call(&format!("write {path} in {container}"), ARCHIVE, |session| async move {
            session.client.upload_to_container(container, Some(options), body).await
        })
        .await
    }

    async fn usage(&self, container: &str) -> Result<Used, EngineError> {
        // Not in one shot: the engine measures twice, so that the share of CPU is known.
        let options = StatsOptionsBuilder::new().stream(false).one_shot(false).build();
        let what = format!("measure {container}");
        let answer = self
            .call(&what, self.deadlines.read, |session| async move {
                Box::pin(session.client.stats(container, Some(options))).try_next().await
            })
            .await?;
        answer
            .map(|answer| used(&answer))
            .ok_or_else(|| EngineError::NotFound(format!("container {container}")))
    }
}

impl Docker {
    async fn attach_terminal(
        &self,
        what: String,
        container: &str,
        options: CreateExecOptions<String>,
    ) -> Result<Running, EngineError> {
        let (id, prefix) = self
            .call(&what, self.deadlines.write, |session| async move {
                Ok((session.client.create_exec(container, options).await?.id, prefix(&session)))
            })
            .await?;
        let request =
            format!("POST {prefix}/exec/{id}/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp");
        let wire = self.raw(&what, &request, r#"{"Detach":false,"Tty":true}"#).await?;
        let (read, input) = tokio::io::split(wire);
        let output = raw::pieces(read)
            .map(move |piece| piece.map(Piece::Output).map_err(|error| broke(&what, &error)));
        Ok(Running { id, output: Box::pin(output), input: Box::pin(input) })
    }

    async fn raw(
        &self,
        what: &str,
        request: &str,
        body: &str,
    ) -> Result<tokio::io::BufReader<tokio::net::UnixStream>, EngineError> {
        let opening = raw::open(&self.socket, what, request, body);
        let opened = tokio::time::timeout(self.deadlines.write, opening).await;
        opened.unwrap_or_else(|_| Err(EngineError::Timeout(what.to_owned())))
    }
}

/// What paths of the engine's API begin with.
fn prefix(session: &Session) -> String {
    let version = session.client.client_version();
    format!("/v{}.{}", version.major_version, version.minor_version)
}

fn broke(what: &str, error: &std::io::Error) -> EngineError {
    EngineError::Unavailable(format!("{what}: {error}"))
}

fn pieces(
    what: String,
    output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + 'static,
) -> Output {
    Box::pin(output.map(move |piece| match piece {
        Ok(LogOutput::StdErr { message }) => Ok(Piece::Error(message)),
        Ok(LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message }) => {
            Ok(Piece::Output(message))
        }
        Err(error) => Err(told(&what, error)),
    }))
}

fn used(stats: &ContainerStatsResponse) -> Used {
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let detail: HashMap<String, u64> = memory.stats.unwrap_or_default();
    // What was read from files and is not in use is given back when others need room. Named by cgroup version.
    let spare =
        detail.get("total_inactive_file").or_else(|| detail.get("inactive_file")).copied().unwrap_or(0);
    Used {
        cpu: share(stats.precpu_stats.as_ref(), stats.cpu_stats.as_ref()),
        memory: memory.usage.unwrap_or(0).saturating_sub(spare),
        limit: memory.limit.unwrap_or(0),
    }
}

/// CPU between two looks, in percent of one.
fn share(before: Option<&ContainerCpuStats>, now: Option<&ContainerCpuStats>) -> f64 {
    let total = |stats: &ContainerCpuStats| stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage);
    let (Some(before), Some(now)) = (before, now) else { return 0.0 };
    let own = total(now).unwrap_or(0).saturating_sub(total(before).unwrap_or(0));
    let machine = now.system_cpu_usage.unwrap_or(0).saturating_sub(before.system_cpu_usage.unwrap_or(0));
    if before.system_cpu_usage.is_none() || machine == 0 {
        return 0.0;
    }
    own as f64 / machine as f64 * f64::from(now.online_cpus.unwrap_or(1)) * 100.0
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuUsage, ContainerMemoryStats};

    use super::*;

    fn at(own: u64, machine: u64) -> Option<ContainerCpuStats> {
        Some(ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage { total_usage: Some(own), ..ContainerCpuUsage::default() }),
            system_cpu_usage: Some(machine),
            online_cpus: Some(2),
            ..ContainerCpuStats::default()
        })
    }

    #[test]
    fn cpu_is_a_share_of_one_and_memory_what_cannot_be_given_back() {
        for (before, now, cpu) in [
            (at(0, 0), at(500, 2000), 50.0),
            (at(100, 1000), at(2100, 3000), 200.0),
            (at(100, 1000), at(100, 1000), 0.0),
            (None, at(100, 1000), 0.0),
            // The first look of an engine that has measured once alone.
            (Some(ContainerCpuStats::default()), at(100, 1000), 0.0),
        ] {
            let share = share(before.as_ref(), now.as_ref());
            assert!((share - cpu).abs() < 0.001, "{before:?} {now:?}: {share}");
        }
        for word in ["total_inactive_file", "inactive_file"] {
            let memory = ContainerMemoryStats {
                usage: Some(100),
                limit: Some(1000),
                stats: Some(HashMap::from([(word.to_owned(), 30)])),
                ..ContainerMemoryStats::default()
            };
            let stats =
                ContainerStatsResponse { memory_stats: Some(memory), ..ContainerStatsResponse::default() };
            assert_eq!(used(&stats), Used { cpu: 0.0, memory: 70, limit: 1000 });
        }
    }
}
