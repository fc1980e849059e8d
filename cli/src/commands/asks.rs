//! What a HealthCheck asks, how often, and what comes of it: its part of `evenkeel describe`.

use std::sync::Arc;

use evenkeel_api::healthcheck::{HealthCheckSpec, PortRef, ProbeKind};
use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::{CheckId, ServiceId};
use evenkeel_api::record::{Accepted, Desired};
use evenkeel_api::service::{Port, ServiceSpec};
use evenkeel_runtime::store::Store;

use crate::failure::Failure;
use crate::output::{say, table};
use crate::{snapshot, words};

/// Prints it, with what it says of every copy.
///
/// # Errors
/// The store does not answer, or a record cannot be read.
pub async fn print(store: &Arc<dyn Store>, id: &CheckId) -> Result<(), Failure> {
    let key = Key::Accepted(ObjectRef::HealthCheck(id.clone()));
    let Some(check) = snapshot::get::<Accepted<HealthCheckSpec>>(store, &key).await? else { return Ok(()) };
    let spec = check.value.spec;
    let target = ServiceId { namespace: id.namespace.clone(), name: spec.target.service.clone() };
    let key = Key::Accepted(ObjectRef::Service(target.clone()));
    let service = snapshot::get::<Accepted<ServiceSpec>>(store, &key).await?;
    let ports = service.map(|found| found.value.spec.template.ports).unwrap_or_default();
    say!();
    for (of, text) in lines(&spec, &target, &ports) {
        say!("{of:9} {text}");
    }
    say!("\nwhat it says");
    let copies = snapshot::copies(store, Some(&target)).await?;
    let rows = copies.iter().filter(|copy| copy.instance.desired == Desired::Run).map(|copy| {
        let state = copy.health.as_ref().and_then(|health| health.checks.get(&id.name));
        let (verdict, saw) = match state {
            Some(state) if copy.host_alive => (words::verdict(state.verdict), state.evidence.clone()),
            Some(_) | None => ("-", "nothing yet".to_owned()),
        };
        vec![copy.id.to_string(), copy.host.to_string(), verdict.to_owned(), saw]
    });
    table(&["COPY", "HOST", "VERDICT", "SAW"], rows.collect(), "nothing: there is no copy to ask");
    Ok(())
}

/// What it does, a line each.
fn lines(spec: &HealthCheckSpec, target: &ServiceId, ports: &[Port]) -> Vec<(&'static str, String)> {
    let port = match &spec.port {
        Some(PortRef::Number(number)) => format!("port {number}"),
        Some(PortRef::Name(name)) => match ports.iter().find(|port| port.name.as_ref() == Some(name)) {
            Some(port) => format!("port {name} ({})", port.target),
            None => format!("port {name}, which its document does not name"),
        },
        None => "no port".to_owned(),
    };
    let asks = match spec.probe {
        ProbeKind::Http => {
            let method = spec.method.as_deref().unwrap_or("GET");
            let path = spec.path.as_deref().unwrap_or("/");
            format!("{method} {path} over http, {port}; 200 to 399 is a pass")
        }
        ProbeKind::Tcp => format!("a connection, {port}"),
        ProbeKind::Exec => {
            let command = spec.command.as_deref().unwrap_or_default().join(" ");
            format!("`{command}` in the container; exit code 0 is a pass")
        }
    };
    let row = |n: u32, one: &str, several: &str| match n {
        1 => format!("the first {one}"),
        n => format!("{n} {several} in a row"),
    };
    let grace = match spec.start_period() {
        span if span.0.is_zero() => String::new(),
        span => format!("; failures within {span} of a start do not count before the first pass"),
    };
    let mut effects = Vec::new();
    if spec.affects_dns() {
        effects.push("it leaves the names".to_owned());
    }
    if spec.affects_rollout() {
        effects.push("a rollout counts it as failed".to_owned());
    }
    if let Some(restart) = spec.restart() {
        effects.push(format!(
            "it is restarted, from {} after its start on and {} times at most",
            restart.grace(),
            restart.limit()
        ));
    }
    if effects.is_empty() {
        effects.push("nothing: it is only shown".to_owned());
    }
    vec![
        ("asks", format!("every copy of Service {target}: {asks}")),
        (
            "when",
            format!(
                "every {}, for {} at most; every {} until the first pass",
                spec.interval(),
                spec.timeout(),
                spec.start_interval()
            ),
        ),
        (
            "judges",
            format!(
                "healthy after {}, unhealthy after {}{grace}",
                row(spec.success_before_passing(), "pass", "passes"),
                row(spec.retries(), "failure", "failures")
            ),
        ),
        ("unhealthy", effects.join("; ")),
    ]
}

#[cfg(test)]
mod tests {
    use evenkeel_api::text::{DocumentSpec, Origin, parse_document};

    use super::*;

    fn said(spec: &str) -> String {
        let text = format!("apiVersion: evenkeel/v1\nspec: {{target: {{service: web}}, {spec}}}\n");
        let id: CheckId = "shop/web-http".parse().unwrap();
        let document = parse_document(&text, &Origin::Key(ObjectRef::HealthCheck(id))).unwrap();
        let DocumentSpec::HealthCheck(spec) = document.spec else { panic!("a check") };
        let ports: Vec<Port> = serde_json::from_str(r#"[{"name": "http", "target": 8080}]"#).unwrap();
        let lines = lines(&spec, &"shop/web".parse().unwrap(), &ports);
        lines.into_iter().map(|(of, text)| format!("{of} {text}\n")).collect()
    }

    #[test]
    fn all_that_a_check_does_is_told_defaults_too() {
        assert_eq!(
            said("type: http, port: http, path: /healthz, interval: 2s, success_before_passing: 2"),
            "asks every copy of Service shop/web: GET /healthz over http, port http (8080); 200 to 399 is a pass\n\
             when every 2s, for 2s at most; every 200ms until the first pass\n\
             judges healthy after 2 passes in a row, unhealthy after 3 failures in a row\n\
             unhealthy it leaves the names; a rollout counts it as failed\n"
        );
        assert_eq!(
            said(
                "type: exec, command: [pg_isready, -q], retries: 1, start_period: 30s, effects: {dns: false, rollout: false, \
                 restart: {limit: 5}}"
            ),
            "asks every copy of Service shop/web: `pg_isready -q` in the container; exit code 0 is a pass\n\
             when every 10s, for 2s at most; every 200ms until the first pass\n\
             judges healthy after the first pass, unhealthy after the first failure; failures within 30s of a start do not \
             count before the first pass\n\
             unhealthy it is restarted, from 30s after its start on and 5 times at most\n"
        );
        let odd = said("type: tcp, port: admin, effects: {dns: false, rollout: false}");
        assert!(odd.contains("a connection, port admin, which its document does not name"), "{odd}");
        assert!(odd.ends_with("unhealthy nothing: it is only shown\n"), "{odd}");
    }
}
