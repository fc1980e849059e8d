//! What people put into the store: documents, good and bad.

use std::fmt::Write;

use evenkeel_api::key::Key;
use evenkeel_api::meta::ObjectRef;
use evenkeel_api::name::ServiceId;
use evenkeel_engine::FakeEngine;
use evenkeel_engine::fake::Behaviour;
use std::time::Duration;

/// The namespace of all services here.
pub const NAMESPACE: &str = "shop";
/// Versions of an image that engines can pull: more than a run makes, as what was rejected once stays so.
const VERSIONS: u32 = 200;
/// The version that nothing has before all is mended.
pub const LAST: u32 = VERSIONS - 1;

/// How an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// Well.
    Good,
    /// It ends soon after its start.
    Crash,
    /// It runs and never passes a check.
    Sick,
    /// No registry has it.
    Missing,
}

impl Image {
    /// A version of it.
    pub fn reference(self, version: u32) -> String {
        let kind = match self {
            Image::Good => "good",
            Image::Crash => "crash",
            Image::Sick => "sick",
            Image::Missing => "missing",
        };
        format!("registry.lan/{kind}:{}", version % VERSIONS)
    }
}

/// Whether copies of an image fail their checks.
pub fn is_sick(image: &str) -> bool {
    image.contains("/sick:")
}

/// Whether copies of an image serve once they run.
pub fn is_well(image: &str) -> bool {
    image.contains("/good:")
}

/// All images into an engine's registry.
pub fn fill_registry(engine: &FakeEngine) {
    for version in 0..VERSIONS {
        for image in [Image::Good, Image::Crash, Image::Sick] {
            let reference = image.reference(version);
            engine.add_to_registry(&reference, &format!("sha256:{}", reference.replace(['/', ':'], "-")));
        }
        let crash = Behaviour::Exits { after: Duration::from_millis(300), code: 1 };
        engine.behave(&Image::Crash.reference(version), crash);
    }
}

/// The network that all services are on.
pub const NETWORK: &str = "apiVersion: evenkeel/v1\nkind: Network\nmetadata: {name: lan}\n\
     spec: {ipam: {config: [{subnet: 10.88.0.0/16}]}, dns: {domain: internal, ttl: 1s}}\n";

/// A service as people want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How many copies; `None`: one a host.
    pub replicas: Option<u32>,
    /// What it runs.
    pub image: Image,
    /// Which version of that.
    pub version: u32,
    /// Whether it has a check.
    pub checked: bool,
    /// Whether that check restarts sick copies.
    pub restarts: bool,
    /// Whether a rollout that fails goes back.
    pub goes_back: bool,
    /// Whether new copies start before old ones stop.
    pub start_first: bool,
    /// A port of the host.
    pub port: Option<u16>,
    /// Whether it has a volume.
    pub volume: bool,
    /// Whether no slot of it may ever have two copies.
    pub exclusive: bool,
}

impl Service {
    /// Its id.
    pub fn id(&self) -> ServiceId {
        let id = format!("{NAMESPACE}/{}", self.name).parse();
        id.unwrap_or_else(|_| unreachable!("names here are valid"))
    }

    /// The key of its document.
    pub fn key(&self) -> Key {
        Key::Document(ObjectRef::Service(self.id()))
    }

    /// Its document.
    pub fn text(&self) -> String {
        let mut text = format!(
            "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {{name: {}, namespace: {NAMESPACE}}}\nspec:\n  \
             image: {}\n  networks: [lan]\n  stop_grace_period: 3s\n",
            self.name,
            self.image.reference(self.version)
        );
        let published = self.port.map(|port| format!(", published: {port}, mode: host")).unwrap_or_default();
        let _ = writeln!(text, "  ports: [{{name: http, target: 8080{published}}}]");
        if self.volume {
            text.push_str("  volumes: [\"data:/data\"]\n");
        }
        text.push_str("  deploy:\n");
        match self.replicas {
            Some(replicas) => {
                let _ = writeln!(text, "    replicas: {replicas}");
            }
            None => text.push_str("    mode: global\n"),
        }
        let order = if self.start_first { "start-first" } else { "stop-first" };
        let action = if self.goes_back { ", failure_action: rollback" } else { "" };
        let _ = writeln!(text, "    update_config: {{order: {order}, monitor: 2s{action}}}");
        if self.exclusive {
            text.push_str("    exclusive: true\n    disconnect: {stop_on_client_after: 5s}\n");
        }
        text.push_str("    resources: {reservations: {memory: 16M}}\n");
        text
    }

    /// The key of its check.
    pub fn check_key(&self) -> Key {
        Key::Document(ObjectRef::HealthCheck(self.id()))
    }

    /// The document of its check.
    pub fn check_text(&self) -> String {
        let effects = if self.restarts { ", effects: {restart: {limit: 2, grace: 5s}}" } else { "" };
        format!(
            "apiVersion: evenkeel/v1\nkind: HealthCheck\nmetadata: {{name: {0}, namespace: {NAMESPACE}}}\n\
             spec: {{target: {{service: {0}}}, type: http, port: http, path: /, interval: 5s, timeout: 1s{effects}}}\n",
            self.name
        )
    }
}

/// A document that nobody can read.
pub fn broken(service: &Service, how: u64) -> String {
    match how % 4 {
        0 => service.text().replace("replicas:", "replica:").replace("mode: global", "mode: globe"),
        1 => format!("{}\n  - [unclosed", service.text()),
        2 => "\u{0}\u{1}\u{2}".to_owned(),
        _ => "[1, 2, 3]".to_owned(),
    }
}
