//! The keys of a HealthCheck.

use super::{Row, honoured, not_yet, refused};

pub(super) const ROWS: [Row; 32] = [
    honoured("target", ""),
    honoured("target.service", "a Service of the same namespace"),
    honoured("type", "`http`, `tcp` or `exec`"),
    not_yet("type", "write `type: tcp`, or `exec` with a probe that is in the image").with("grpc"),
    refused("type", "it is called otherwise here", "write `type: exec`").with("script"),
    refused("type", "certificates are not looked at", "write `type: tcp`, or `exec` with a command")
        .with("https"),
    honoured("port", "number or name; http and tcp need one"),
    honoured("path", "http; `/` when absent"),
    honoured("method", "http; GET when absent"),
    honoured("header", "http; further header lines"),
    honoured("command", "exec; a list of words"),
    honoured("interval", "10s when absent"),
    honoured("timeout", "2s when absent"),
    honoured("retries", "failures in a row before unhealthy; 3 when absent"),
    honoured("success_before_passing", "passes in a row before healthy; 1 when absent"),
    honoured("start_period", "time after a start in which failures do not count; 0s when absent"),
    honoured("start_interval", "time between checks until the first pass; 200ms when absent"),
    honoured("effects", ""),
    honoured("effects.dns", "an unhealthy copy leaves the names; true when absent"),
    honoured("effects.rollout", "a rollout waits for it and counts its failures; true when absent"),
    honoured("effects.restart", "an unhealthy copy is restarted where it is; not when absent"),
    honoured(
        "effects.restart.limit",
        "restarts that do not help before it is replaced elsewhere; 3 when absent",
    ),
    honoured("effects.restart.grace", "time after a start in which the check asks for none; 30s when absent"),
    not_yet("observers", "the copy's own host asks"),
    not_yet("mode", "write `effects: {dns: false, rollout: false}` for a check that only watches"),
    not_yet("body", "leave it out"),
    refused("test", "that is the engine's check, a key of the Service", "write `type: exec` and `command`"),
    refused("disable", "a check that is not wanted is not there", "delete the document"),
    refused("failures_before_critical", "it is called otherwise here", "write `retries`"),
    refused("headers", "it is called otherwise here", "write `header`"),
    refused("args", "it is called otherwise here", "write `command`, a list of words"),
    not_yet("tls_skip_verify", "write `type: tcp`, or `exec` with a command"),
];
