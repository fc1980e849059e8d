//! The keys of a Service's `deploy`.

use super::{Row, honoured, not_yet, refused};

pub(super) const ROWS: [Row; 51] = [
    honoured("deploy.mode", "`replicated` or `global`"),
    not_yet("deploy.mode", "run it with `docker run`, or as a service that sleeps when it is done")
        .with("replicated-job"),
    not_yet("deploy.mode", "run it with `docker run`, or as a service that sleeps when it is done")
        .with("global-job"),
    not_yet("deploy.mode", "let a service of one copy keep the time itself").with("cron"),
    honoured("deploy.replicas", "1 when absent; 0 too"),
    honoured("deploy.labels", "of the service, not of its containers"),
    honoured("deploy.endpoint_mode", "`dnsrr`, the only one"),
    refused("deploy.endpoint_mode", "names give the copies' own addresses", "leave it out").with("vip"),
    honoured(
        "deploy.placement.constraints",
        "`node.labels.<key>`, `node.hostname`, `node.platform.os` and `node.platform.arch`, with == or !=",
    ),
    honoured("deploy.placement.preferences", ""),
    honoured("deploy.placement.preferences.*.spread", "`node.labels.<key>`"),
    honoured("deploy.placement.max_replicas_per_node", ""),
    honoured("deploy.resources.limits.cpus", "text or a number"),
    honoured("deploy.resources.limits.memory", ""),
    honoured("deploy.resources.limits.pids", ""),
    honoured("deploy.resources.reservations.cpus", "set aside for a copy; placement counts it"),
    honoured("deploy.resources.reservations.memory", "set aside for a copy; placement counts it"),
    refused(
        "deploy.resources.reservations.devices",
        "devices are not counted",
        "write `gpus`, and a constraint to the hosts that have them",
    ),
    refused(
        "deploy.resources.reservations.generic_resources",
        "only cpus and memory are counted",
        "label the hosts, and write a constraint",
    ),
    honoured("deploy.restart_policy.condition", "`any` (when absent), `on-failure` or `none`"),
    honoured("deploy.restart_policy.delay", "at once when absent, with back-off when it repeats"),
    honoured("deploy.restart_policy.max_attempts", "then the copy is tried on another host"),
    honoured("deploy.restart_policy.window", ""),
    honoured("deploy.update_config.parallelism", "1 when absent; 0: all at once"),
    honoured("deploy.update_config.delay", ""),
    honoured("deploy.update_config.order", "`stop-first` (when absent) or `start-first`"),
    honoured("deploy.update_config.monitor", "5s when absent"),
    honoured("deploy.update_config.failure_action", "`pause` (when absent) or `continue`"),
    not_yet(
        "deploy.update_config.failure_action",
        "write `pause`; a paused rollout goes back when you pin the old template",
    )
    .with("rollback"),
    honoured("deploy.update_config.max_failure_ratio", "0 to 1; 0 when absent"),
    not_yet("deploy.update_config.canary", "write `parallelism: 1` and a long `monitor`"),
    not_yet("deploy.update_config.healthy_deadline", "write `monitor`"),
    not_yet(
        "deploy.rollback_config",
        "there is no rollback by itself; going back is a rollout like any other",
    ),
    honoured(
        "deploy.stop_delay",
        "evenkeel's own: between leaving the names and SIGTERM; the names' ttl and 1s when absent",
    ),
    honoured(
        "deploy.disconnect.lost_after",
        "evenkeel's own: from a host's last possible heartbeat to the replacement; 4s when absent",
    ),
    not_yet("deploy.disconnect.stop_on_client_after", "a host that is cut off keeps its copies"),
    not_yet("deploy.disconnect.replace", "lost copies are always replaced"),
    not_yet("deploy.disconnect.reconcile", "the healthy copy that is listed stays"),
    not_yet("deploy.exclusive", "write `replicas: 1`; after a host is cut off there may be two for a while"),
    not_yet("deploy.pre", "let the image's entrypoint do it"),
    honoured("deploy.placement", ""),
    honoured("deploy.resources", ""),
    honoured("deploy.resources.limits", ""),
    honoured("deploy.resources.reservations", ""),
    honoured("deploy.restart_policy", ""),
    honoured("deploy.update_config", ""),
    honoured("deploy.disconnect", ""),
    refused("deploy.restart", "that is Compose's other word", "write `deploy.restart_policy.condition`"),
    refused("deploy.update", "that is another tool's word", "write `deploy.update_config`"),
    refused("deploy.limits", "it stands one level deeper", "write `deploy.resources.limits`"),
    refused("deploy.reservations", "it stands one level deeper", "write `deploy.resources.reservations`"),
];
