//! One copy: its container, its health, and whether names lead to it.

use evenkeel_api::healthcheck::{HealthCheckSpec, PortRef};
use evenkeel_api::name::{InstanceId, ObjectName};
use evenkeel_api::record::{CheckState, Desired, InstanceState, Observed, Verdict};
use evenkeel_api::service::RestartCondition;
use evenkeel_plan::service::{Check, Copy, Service};

use super::{Finding, Scene};

/// A run that began less than so many milliseconds ago, after others that ended, may end as they did.
const YOUNG: i64 = 20_000;

/// One copy with what it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub scene: &'a Scene,
    pub service: &'a Service,
    pub id: &'a InstanceId,
    pub copy: &'a Copy,
}

impl Of<'_> {
    /// Its name with its host, as answers call it.
    fn at(&self) -> String {
        format!("{} on {}", self.id, self.copy.host)
    }

    /// The container.
    pub fn container(&self) -> Finding {
        if !self.scene.is_alive(&self.copy.host) {
            return Finding::open(format!("{} is gone: nothing is known of {}", self.copy.host, self.id));
        }
        let Some(observed) = &self.copy.observed else {
            let begins = format!("{} has not begun with {} yet", self.copy.host, self.id);
            return Finding::waits(begins).help(
                format!("evenkeel explain host {}", self.copy.host),
                "if that lasts: whether its controllers work",
            );
        };
        let found = match &observed.state {
            InstanceState::Waiting { why } => {
                self.mend(Finding::broken(format!("{} waits: {why}", self.at())))
            }
            InstanceState::Pulling => {
                Finding::waits(format!("{} waits for its image, which is on its way", self.at()))
            }
            InstanceState::Created => Finding::waits(format!("{} is about to start", self.at())),
            InstanceState::Running => return self.running(observed),
            InstanceState::Exited { code, oom } => self.exited(observed, *code, *oom),
            InstanceState::Failed { why, .. } => {
                let failed = Finding::broken(format!("{} failed: {why}", self.at()));
                if observed.started.is_some() { self.logs(failed) } else { self.mend(failed) }
            }
            InstanceState::Stopped { code } => self.stopped(*code),
        };
        found.since(Some(observed.since))
    }

    fn running(&self, observed: &Observed) -> Finding {
        let since = observed.started.unwrap_or(observed.since);
        let young = self.scene.now.0 - since.0 < YOUNG;
        if observed.restarts > 0 && young {
            let again = format!("{} runs again, after it ended {} times", self.at(), observed.restarts);
            return self.logs(Finding::waits(again)).since(Some(since));
        }
        Finding::holds(format!("{} runs", self.at())).since(Some(since))
    }

    fn exited(&self, observed: &Observed, code: i64, oom: bool) -> Finding {
        let why = if oom {
            "was killed for the memory that it took".to_owned()
        } else {
            format!("exited with code {code}")
        };
        let times = match observed.restarts {
            0 => "it is started again".to_owned(),
            1 => "it was started again once, and will be again".to_owned(),
            n => format!("it was started again {n} times, and will be again"),
        };
        self.logs(Finding::broken(format!("{} {why}; {times}", self.at())))
    }

    fn stopped(&self, code: Option<i64>) -> Finding {
        let ended = match code {
            Some(code) => format!("{} ended with code {code}", self.at()),
            None => format!("{} has stopped", self.at()),
        };
        let condition =
            self.service.accepted.as_ref().map(|accepted| accepted.value.spec.restart_condition());
        match condition {
            Some(RestartCondition::None | RestartCondition::OnFailure) => {
                Finding::broken(format!("{ended}, and its document says not to start it again"))
            }
            _ => Finding::waits(format!("{ended}; a successor comes")),
        }
    }

    /// What is to be looked at where nothing of it ever ran.
    fn mend(&self, found: Finding) -> Finding {
        found.help(format!("evenkeel events {}", self.id.service), "what happened to the service").help(
            format!("evenkeel get service {} >FILE", self.id.service),
            "if the document is wrong: mend it, then apply it",
        )
    }

    fn logs(&self, found: Finding) -> Finding {
        found
            .help(format!("docker logs {}", self.id), "what it said itself; on its host")
            .help(format!("evenkeel events {}", self.id.service), "what happened to the service")
    }

    /// Whether its container runs.
    pub fn runs(&self) -> bool {
        let running = |observed: &Observed| observed.state == InstanceState::Running;
        self.scene.is_alive(&self.copy.host) && self.copy.observed.as_ref().is_some_and(running)
    }

    /// What its checks say.
    pub fn health(&self) -> Finding {
        let (Some(observed), true) = (&self.copy.observed, self.runs()) else {
            return Finding::open(format!("{} does not run", self.id));
        };
        let engine = match observed.engine_health {
            Some(Verdict::Unhealthy) => {
                let sick = format!("the image's own check finds {} unhealthy", self.at());
                Some(
                    Finding::broken(sick)
                        .help(format!("docker inspect {}", self.id), "what it saw; on its host"),
                )
            }
            Some(Verdict::Starting) => {
                Some(Finding::waits(format!("the image's own check of {} has not passed yet", self.at())))
            }
            Some(Verdict::Healthy) | None => None,
        };
        let checks = self.service.checks.iter().filter_map(|(name, check)| self.check(observed, name, check));
        let worst = engine.into_iter().chain(checks).min_by_key(|finding| finding.mark);
        worst.unwrap_or_else(|| match self.service.checks.is_empty() && observed.engine_health.is_none() {
            true => Finding::holds("no check asks it: it counts as well while it runs"),
            false => Finding::holds(format!("{} passes its checks", self.at())),
        })
    }

    /// What speaks against this run by one check.
    fn check(&self, observed: &Observed, name: &ObjectName, check: &Check) -> Option<Finding> {
        let health = self.copy.health.as_ref().filter(|health| Some(health.started) == observed.started);
        let state = health.and_then(|health| health.checks.get(name));
        let at = self.at();
        let describe = format!("evenkeel describe healthcheck {}/{name}", self.id.service.namespace);
        let port = self.odd_port(&check.spec);
        let found = match state.map(|state| (state.verdict, state)) {
            Some((Verdict::Healthy, _)) => return None,
            Some((Verdict::Unhealthy, state)) => {
                let port = port.map(|port| format!("; {port}")).unwrap_or_default();
                let sick = format!("check {name} finds {at} unhealthy: {}{port}", state.evidence);
                let found = match check.spec.affects_dns() {
                    true => Finding::broken(sick),
                    false => Finding::aside(format!("{sick} (that takes it out of no names)")),
                };
                found.since(Some(state.since))
            }
            // What was in the names stays there until a check fails.
            _ if self.listed() == Some(true) => return None,
            // It would wait for ever: only a person can name another port.
            Some((_, CheckState { evidence, .. })) if port.is_some() && !evidence.is_empty() => {
                let why =
                    format!("check {name} of {at} does not pass: {evidence}; {}", port.unwrap_or_default());
                let get = format!("evenkeel get service {} >FILE", self.id.service);
                Finding::broken(why).help(get, "the document, if it is its port that is wrong")
            }
            Some((Verdict::Starting, state)) if state.evidence.is_empty() => {
                Finding::waits(format!("check {name} of {at} has not passed yet")).since(Some(state.since))
            }
            Some((Verdict::Starting, state)) => {
                let why = format!("check {name} of {at} has not passed yet: {}", state.evidence);
                Finding::waits(why).since(Some(state.since))
            }
            None => Finding::waits(format!("check {name} has said nothing of {at} yet")),
        };
        Some(found.help(describe, "what is asked, and how often"))
    }

    /// What is odd about the port that a check asks, beside what the document of its service names.
    fn odd_port(&self, check: &HealthCheckSpec) -> Option<String> {
        let number = self.copy.record.as_ref()?.value.template.revision;
        let ports = &self.service.template(number)?.ports;
        let names = ports.iter().map(|port| match &port.name {
            Some(name) => format!("{name} ({})", port.target),
            None => port.target.to_string(),
        });
        let names: Vec<String> = names.collect();
        match check.port.as_ref()? {
            PortRef::Name(name) if ports.iter().all(|port| port.name.as_ref() != Some(name)) => {
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Some(format!("its document names no port {name}, but {known}"))
            }
            // One that the document does not name may be there all the same.
            PortRef::Number(asked) if !ports.is_empty() && ports.iter().all(|port| port.target != *asked) => {
                Some(format!("its document names no port {asked}, but {}", names.join(", ")))
            }
            _ => None,
        }
    }

    /// Whether names are told of it, and whether as ready.
    pub fn listed(&self) -> Option<bool> {
        let mut endpoints = self.service.endpoints.values().flat_map(|shard| &shard.value.endpoints);
        endpoints.find(|endpoint| endpoint.id == *self.id).map(|endpoint| endpoint.ready)
    }

    /// Whether it serves.
    pub fn serves(&self) -> bool {
        self.listed() == Some(true) && self.scene.is_alive(&self.copy.host)
    }

    /// Whether names lead to it.
    pub fn names(&self) -> Finding {
        if self.serves() {
            return Finding::holds(format!("names lead to {}", self.at()));
        }
        let record = self.copy.record.as_ref().map(|record| &record.value);
        let started = self.copy.observed.as_ref().and_then(|observed| observed.started);
        let restart = record.and_then(|record| record.restart).filter(|restart| Some(restart.run) == started);
        if let Some(restart) = restart {
            let again = format!(
                "{} is out of the names, to be restarted for its health ({}.)",
                self.at(),
                restart.count
            );
            return Finding::waits(again);
        }
        let well = self.runs() && self.health().mark >= super::Mark::Aside;
        match well && record.is_some_and(|record| record.desired == Desired::Run) {
            true => Finding::waits(format!("{} is about to come into the names", self.at())),
            false => Finding::open(format!("no name leads to {}", self.id)),
        }
    }
}
