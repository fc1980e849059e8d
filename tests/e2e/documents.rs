//! The documents that cases put, as people would write them.

/// Where the lab's public images are.
pub const REGISTRY: &str = "registry.lan:5000";

/// The reference of one of them.
pub fn image(name: &str) -> String {
    format!("{REGISTRY}/{name}")
}

/// The network that most cases use, with names that may be cached for a second.
pub fn lan() -> String {
    network("10.88.0.0/16")
}

/// A network of that pool.
pub fn network(pool: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Network\nspec:\n  ipam: {{config: [{{subnet: {pool}}}]}}\n  dns: {{domain: internal, ttl: 1s}}\n"
    )
}

/// A service of the web server image, in that version; `deploy` is the inside of a flow mapping.
pub fn web(version: &str, deploy: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {REGISTRY}/web:{version}\n  networks: [lan]\n  \
         ports: [{{name: http, target: 8080}}]\n  stop_grace_period: 5s\n  deploy: {{{deploy}}}\n"
    )
}

/// An exclusive database, without a volume: it may go to any host.
pub fn exclusive_database() -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {REGISTRY}/postgres:15\n  networks: [lan]\n  \
         ports: [{{name: sql, target: 5432}}]\n  stop_grace_period: 5s\n  deploy: {{exclusive: true, stop_delay: 0s, \
         disconnect: {{stop_on_client_after: 5s}}}}\n"
    )
}

/// A service that does nothing, and ends at once when it is told to.
pub fn idle(deploy: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {REGISTRY}/busybox:1\n  command: [sleep, \"1000000\"]\n  \
         networks: [lan]\n  init: true\n  deploy: {{stop_delay: 0s, {deploy}}}\n"
    )
}

/// A service of another image of the lab that sleeps, to ask from.
pub fn client(image: &str, network: &str, deploy: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: Service\nspec:\n  image: {REGISTRY}/{image}\n  command: [sleep, \"1000000\"]\n  \
         networks: [{network}]\n  init: true\n  deploy: {{stop_delay: 0s, {deploy}}}\n"
    )
}

/// A check by HTTP, as of a team that wants to know soon.
pub fn http_check(service: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1\nkind: HealthCheck\nspec:\n  target: {{service: {service}}}\n  type: http\n  port: http\n  \
         path: /healthz\n  interval: 1s\n  timeout: 1s\n  retries: 2\n  start_period: 20s\n"
    )
}
