//! The trait's methods on a real engine.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use evenkeel_api::service::Limits;
use evenkeel_plan::instance::container::{Container, ContainerSpec, NetworkChoice, label};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::errors::{gone_is_done, optional};
use super::{Docker, Session, events, read, spec};
use crate::engine::{Engine, EngineError, Events};
use crate::reference::Reference;
use crate::types::{
    EXEC_OUTPUT, EngineInfo, ExecOutput, Image, Network, NetworkCreate, RegistryAuth, Volume,
};

/// Inspections at a time when all containers are listed: enough to hide the round trips, too few to keep
/// the engine from other work.
const INSPECTIONS: usize = 8;
/// Containers that the engine may hold, each for a copy of files, say; when more are not told of, it hangs.
const HELD: usize = 8;

#[async_trait]
impl Engine for Docker {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let (info, api) = self
            .call("info", self.deadlines.read, |session| async move {
                let api = session.client.client_version();
                Ok((session.client.info().await?, format!("{}.{}", api.major_version, api.minor_version)))
            })
            .await?;
        let number = |value: Option<i64>| value.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        Ok(EngineInfo {
            version: info.server_version.unwrap_or_default(),
            api,
            cpus: number(info.ncpu),
            memory: number(info.mem_total),
            os: info.os_type.unwrap_or_default(),
            arch: image_arch(&info.architecture.unwrap_or_default()).to_owned(),
            live_restore: info.live_restore_enabled.unwrap_or(false),
        })
    }

    async fn containers(&self, uid: &str) -> Result<Vec<Container>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{}={uid}", label::CLUSTER)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self
            .call("list containers", self.deadlines.read, |session| async move {
                session.client.list_containers(Some(options)).await
            })
            .await?;
        let (all, held) = (listed.len(), &AtomicUsize::new(0));
        let found: Vec<Option<Container>> = stream::iter(listed)
            .map(|one| async move {
                let id = one
                    .id
                    .clone()
                    .ok_or_else(|| EngineError::Garbled("a listed container has no id".into()))?;
                match self.inspect(&id).await {
                    // The engine holds it, as it does while files are copied in or out: of all others it tells.
                    Err(EngineError::Timeout(what)) => match held.fetch_add(1, Ordering::Relaxed) + 1 {
                        count if count > HELD || (count == all && all > 1) => Err(EngineError::Timeout(what)),
                        _ => Ok(Some(read::held(one))),
                    },
                    found => found,
                }
            })
            .buffered(INSPECTIONS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        let answer = self
            .call("inspect", self.deadlines.read, |session| async move {
                let answer = session.client.inspect_container(container, None).await?;
                Ok(read::container(answer, session.cpus))
            })
            .await;
        optional(answer)
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        let mut options = CreateContainerOptionsBuilder::new().name(&spec.name);
        if let Some(platform) = &spec.template.platform {
            options = options.platform(platform);
        }
        let (options, body) = (options.build(), spec::create(spec));
        let made = self
            .call(&format!("create {}", spec.name), self.deadlines.write, |session| async move {
                session.client.create_container(Some(options), body).await
            })
            .await?;
        if let NetworkChoice::Attached(attachments) = &spec.network {
            for attachment in attachments.iter().skip(1) {
                let request = NetworkConnectRequest {
                    container: made.id.clone(),
                    endpoint_config: Some(spec::endpoint(attachment)),
                };
                let connected = self
                    .call(&format!("connect {}", spec.name), self.deadlines.write, |session| async move {
                        session.client.connect_network(&attachment.network, request).await
                    })
                    .await;
                if let Err(error) = connected {
                    // Never leave a copy with half its networks behind: it would be started like that.
                    if let Err(left) = self.remove(&made.id).await {
                        tracing::warn!(container = %spec.name, error = %left, "a half-made container is left");
                    }
                    return Err(error);
                }
            }
        }
        Ok(made.id)
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.call(&format!("start {container}"), self.deadlines.write, |session| async move {
            session.client.start_container(container, None).await
        })
        .await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = spec::seconds(grace);
        let options =
            StopContainerOptionsBuilder::new().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
        let deadline = self.deadlines.write + Duration::from_secs(seconds.unsigned_abs());
        gone_is_done(
            self.call(&format!("stop {container}"), deadline, |session| async move {
                session.client.stop_container(container, Some(options)).await
            })
            .await,
        )
    }

    async fn kill(&self, container: &str) -> Result<(), EngineError> {
        let result = self
            .call(&format!("kill {container}"), self.deadlines.write, |session| async move {
                session.client.kill_container(container, None).await
            })
            .await;
        match gone_is_done(result) {
            // It has ended by itself.
            Err(EngineError::Conflict { who }) if who.contains("is not running") => Ok(()),
            other => other,
        }
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let result = self
            .call(&format!("remove {container}"), self.deadlines.write, |session| async move {
                session.client.remove_container(container, Some(options)).await
            })
            .await;
        match gone_is_done(result) {
            Err(EngineError::Conflict { who }) if who.contains("already in progress") => Ok(()),
            other => other,
        }
    }

    async fn update(&self, container: &str, limits: &Limits) -> Result<(), EngineError> {
        self.call(&format!("update {container}"), self.deadlines.write, |session| async move {
            let body = spec::update(limits, session.cpus);
            session.client.update_container(container, body).await
        })
        .await
    }

    async fn exec(
        &self,
        container: &str,
        argv: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        self.call(&format!("exec in {container}"), timeout, |session| exec(session, container, argv)).await
    }

    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<Image, EngineError> {
        let parsed = Reference::parse(reference);
        // Without a tag the API would get them all.
        let tag = match (&parsed.tag, &parsed.digest) {
            (None, None) => "latest",
            _ => "",
        };
        let options = CreateImageOptionsBuilder::new()
            .from_image(reference)
            .tag(tag)
            .platform(platform.unwrap_or(""))
            .build();
        let credentials = auth.map(credentials);
        let what = format!("pull {reference}");
        let silence = self.deadlines.pull_silence;
        let pulled = self.call(&what, self.deadlines.pull, |session| async move {
            let mut progress = Box::pin(session.client.create_image(Some(options), None, credentials));
            loop {
                match tokio::time::timeout(silence, progress.next()).await {
                    Ok(Some(step)) => step.map(drop)?,
                    Ok(None) => return Ok(()),
                    Err(_) => return Err(bollard::errors::Error::RequestTimeoutError),
                }
            }
        });
        match pulled.await {
            // A 404 of a pull is the registry's.
            Err(EngineError::NotFound(why)) => return Err(EngineError::Refused(why)),
            other => other?,
        }
        self.image(reference).await?.ok_or_else(|| EngineError::ImageMissing(reference.to_owned()))
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        let answer = self
            .call(&format!("inspect image {reference}"), self.deadlines.read, |session| async move {
                session.client.inspect_image(reference).await
            })
            .await;
        Ok(optional(answer)?.map(read::image))
    }

    async fn volumes(&self, uid: &str) -> Result<Vec<Volume>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{}={uid}", label::CLUSTER)])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let answer = self
            .call("list volumes", self.deadlines.read, |session| async move {
                session.client.list_volumes(Some(options)).await
            })
            .await?;
        let volumes = answer.volumes.unwrap_or_default().into_iter();
        Ok(volumes
            .map(|volume| Volume { name: volume.name, labels: volume.labels.into_iter().collect() })
            .collect())
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        self.call(&format!("create volume {name}"), self.deadlines.write, |session| async move {
            session.client.create_volume(request).await.map(drop)
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        gone_is_done(
            self.call(&format!("remove volume {name}"), self.deadlines.write, |session| async move {
                let options = None::<bollard::query_parameters::RemoveVolumeOptions>;
                session.client.remove_volume(name, options).await
            })
            .await,
        )
    }

    async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        let answer = self
            .call("list networks", self.deadlines.read, |session| async move {
                session.client.list_networks(None).await
            })
            .await?;
        Ok(answer
            .into_iter()
            .map(|one| {
                read::network(read::NetworkAnswer {
                    id: one.id,
                    name: one.name,
                    driver: one.driver,
                    labels: one.labels,
                    options: one.options,
                    ipam: one.ipam,
                })
            })
            .collect())
    }

    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        let answer = self
            .call(&format!("inspect network {name}"), self.deadlines.read, |session| async move {
                session.client.inspect_network(name, None).await
            })
            .await;
        let Some(one) = optional(answer)? else { return Ok(None) };
        let on_it = one.containers.unwrap_or_default().into_iter();
        let address = |text: String| text.split('/').next().and_then(|ip| ip.parse().ok());
        let containers =
            on_it.filter_map(|(id, endpoint)| Some((id, endpoint.ipv4_address.and_then(address)?))).collect();
        let network = read::network(read::NetworkAnswer {
            id: one.id,
            name: one.name,
            driver: one.driver,
            labels: one.labels,
            options: one.options,
            ipam: one.ipam,
        });
        Ok(Some(Network { containers, ..network }))
    }

    async fn create_network(&self, network: &NetworkCreate) -> Result<(), EngineError> {
        // Older engines make a second network of that name, if only the ranges differ.
        if let Some(had) = self.networks().await?.into_iter().find(|one| one.name == network.name) {
            return Err(EngineError::Conflict { who: format!("a network {} ({}) exists", had.name, had.id) });
        }
        let request = create_network(network);
        let what = format!("create network {}", network.name);
        self.call(&what, self.deadlines.write, |session| async move {
            session.client.create_network(request).await.map(drop)
        })
        .await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let result = self
            .call(&format!("remove network {name}"), self.deadlines.write, |session| async move {
                session.client.remove_network(name).await
            })
            .await;
        match gone_is_done(result) {
            Err(EngineError::Refused(who)) if who.contains("active endpoints") => {
                Err(EngineError::Conflict { who })
            }
            other => other,
        }
    }

    async fn events(&self) -> Result<Box<dyn Events>, EngineError> {
        // Proves that the engine answers; the stream itself would only end.
        self.call("ping", self.deadlines.read, |session| async move { session.client.ping().await }).await?;
        Ok(Box::new(events::subscribe(&self.session().await?)))
    }
}

async fn exec(
    session: Session,
    container: &str,
    argv: &[String],
) -> Result<ExecOutput, bollard::errors::Error> {
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(argv.to_vec()),
        ..CreateExecOptions::default()
    };
    let made = session.client.create_exec(container, options).await?;
    let started = session.client.start_exec(&made.id, None::<StartExecOptions>).await?;
    let mut output = Vec::new();
    if let StartExecResults::Attached { output: mut stream, input: _input } = started {
        while let Some(chunk) = stream.next().await {
            let (LogOutput::StdOut { message }
            | LogOutput::StdErr { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message }) = chunk?;
            // Read on past the limit: a command that cannot write would hang.
            output.extend(message.into_iter().take(EXEC_OUTPUT - output.len()));
        }
    }
    let code = session.client.inspect_exec(&made.id).await?.exit_code.unwrap_or(-1);
    Ok(ExecOutput { code, output: String::from_utf8_lossy(&output).into_owned() })
}

fn create_network(network: &NetworkCreate) -> NetworkCreateRequest {
    let mut options: HashMap<String, String> = network.options.clone().into_iter().collect();
    options.insert("com.docker.network.bridge.name".to_owned(), network.bridge.clone());
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some("bridge".to_owned()),
        options: Some(options),
        labels: Some(network.labels.clone().into_iter().collect()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(network.subnet.to_string()),
                ip_range: Some(network.ip_range.to_string()),
                gateway: Some(network.gateway.to_string()),
                auxiliary_addresses: None,
            }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    }
}

fn credentials(auth: &RegistryAuth) -> DockerCredentials {
    DockerCredentials {
        username: Some(auth.username.clone()),
        password: Some(auth.password.clone()),
        identitytoken: auth.identity_token.clone(),
        serveraddress: Some(auth.server.clone()),
        ..DockerCredentials::default()
    }
}

/// The kernel's word for the architecture, as images spell it.
fn image_arch(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        other => other,
    }
}
