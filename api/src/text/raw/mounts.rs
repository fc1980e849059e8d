//! `volumes` and `tmpfs`: what is mounted.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::quantity::Bytes;
use crate::service::{Mount, MountSource};

use super::forms::{Either, Scalar, either_schema};
use crate::text::suggest::nearest;

/// One entry of `volumes`.
#[derive(Debug, Clone)]
pub(crate) struct MountEntry(pub Mount);

/// A mount in the long form.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mount")]
pub(crate) struct LongMount {
    /// What is mounted.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// The volume's name, or an absolute path on the host.
    pub source: Option<String>,
    /// An absolute path in the container.
    pub target: String,
    /// Not writable.
    pub read_only: Option<bool>,
    /// Of a bind.
    pub bind: Option<BindOptions>,
    /// Of a volume.
    pub volume: Option<VolumeOptions>,
    /// Of a tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MountType {
    /// A named volume of the namespace, or one without a name.
    Volume,
    /// A path of the host; needs the host policy's leave.
    Bind,
    /// Memory.
    Tmpfs,
}

/// Options of a bind.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindOptions {
    /// How mounts below it are seen on either side.
    pub propagation: Option<Propagation>,
    /// SELinux relabelling.
    pub selinux: Option<Selinux>,
    /// Make the directory where it is missing; false when absent.
    pub create_host_path: Option<bool>,
}

/// How mounts below a bind are seen on either side.
#[derive(Debug, Clone, Copy, serde::Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Propagation {
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

impl Propagation {
    fn as_str(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::Rprivate => "rprivate",
            Propagation::Shared => "shared",
            Propagation::Rshared => "rshared",
            Propagation::Slave => "slave",
            Propagation::Rslave => "rslave",
        }
    }
}

/// SELinux relabelling.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
pub(crate) enum Selinux {
    /// Shared between containers.
    #[serde(rename = "z")]
    Shared,
    /// This container's alone.
    #[serde(rename = "Z")]
    Own,
}

/// Options of a volume.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeOptions {
    /// Do not copy the image's files into a new volume.
    pub nocopy: Option<bool>,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TmpfsOptions {
    /// The size limit.
    pub size: Option<Bytes>,
    /// Permission bits in octal, like 0755.
    pub mode: Option<Scalar>,
}

impl<'de> Deserialize<'de> for MountEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Either::read(deserializer, "a mount like \"data:/var/lib/data\" or a mapping", short, long).map(Self)
    }
}

either_schema!(MountEntry, LongMount, "string");

/// A path in the container, without a `/` at its end.
fn target(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} is no absolute path in the container; it must begin with /"));
    }
    match path.trim_end_matches('/') {
        "" => Err("nothing can be mounted on / itself".to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// A path of the host.
fn host_path(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    if path.starts_with('~') {
        return Err(format!(
            "{path:?} lies in the home of whoever deploys, and the copies run on other machines; write the \
             absolute path that exists on the hosts, or a volume's name"
        ));
    }
    Err(format!(
        "{path:?} is relative to a checkout that the hosts do not have; build the files into the image, or write \
         an absolute path that exists on the hosts, or a volume's name"
    ))
}

fn volume(name: &str, nocopy: bool) -> Result<MountSource, String> {
    let name = name
        .parse()
        .map_err(|error: crate::name::NameError| error.to_string().replacen("name", "volume", 1))?;
    Ok(MountSource::Volume { name, nocopy })
}

/// Whether a source is meant as a path.
fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~']) || source.contains(['/', '\\'])
}

#[derive(Default)]
struct ShortOptions {
    read_only: bool,
    nocopy: bool,
    propagation: Option<String>,
    selinux: Option<String>,
}

/// The options of a short form.
const OPTIONS: [&str; 15] = [
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "cached",
    "delegated",
    "consistent",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "volume-nocopy",
];

fn options(text: &str) -> Result<ShortOptions, String> {
    let mut options = ShortOptions::default();
    for word in text.split(',') {
        match word {
            "ro" => options.read_only = true,
            "rw" => options.read_only = false,
            "z" | "Z" => options.selinux = Some(word.to_owned()),
            "nocopy" | "volume-nocopy" => options.nocopy = true,
            // They promise less than a plain mount does, on other systems than Linux.
            "cached" | "delegated" | "consistent" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                options.propagation = Some(word.to_owned());
            }
            other => {
                let near = nearest(other, OPTIONS).map(|near| format!(", did you mean `{near}`?"));
                return Err(format!(
                    "{other:?} is no option of a mount{}",
                    near.unwrap_or_else(|| format!(": there are {}", OPTIONS.join(", ")))
                ));
            }
        }
    }
    Ok(options)
}

/// `[source:]target[:options]`.
fn short(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, words) = match parts.as_slice() {
        [path] => (None, *path, None),
        [source, path] => (Some(*source), *path, None),
        [source, path, words] => (Some(*source), *path, Some(*words)),
        _ => return Err(format!("{text:?} has too many parts: write source:target or source:target:ro")),
    };
    let options = words.map(options).transpose()?.unwrap_or_default();
    let source = match source {
        None => {
            if is_path(path) && !path.starts_with('/') {
                host_path(path)?;
            }
            MountSource::Anonymous
        }
        Some(source) if is_path(source) => MountSource::Bind {
            path: host_path(source)?,
            propagation: options.propagation,
            selinux: options.selinux,
            create_host_path: false,
        },
        Some(name) => volume(name, options.nocopy)?,
    };
    Ok(Mount { target: target(path)?, source, read_only: options.read_only })
}

fn long(form: LongMount) -> Result<Mount, String> {
    let LongMount { kind, source, target: path, read_only, bind, volume: options, tmpfs } = form;
    let stray = [
        ("bind", bind.is_some(), MountType::Bind),
        ("volume", options.is_some(), MountType::Volume),
        ("tmpfs", tmpfs.is_some(), MountType::Tmpfs),
    ];
    if let Some((name, ..)) = stray.iter().find(|(_, given, of)| *given && *of != kind) {
        return Err(format!("`{name}` has the options of another type of mount; leave it out"));
    }
    let source = match (kind, source) {
        (MountType::Volume, None) => MountSource::Anonymous,
        (MountType::Volume, Some(name)) if is_path(&name) => {
            return Err(format!("{name:?} is a path: write `type: bind`, or a volume's name"));
        }
        (MountType::Volume, Some(name)) => volume(&name, options.and_then(|o| o.nocopy).unwrap_or(false))?,
        (MountType::Bind, None) => {
            return Err("a bind needs its `source`, an absolute path on the hosts".to_owned());
        }
        (MountType::Bind, Some(path)) => {
            let BindOptions { propagation, selinux, create_host_path } = bind.unwrap_or_default();
            MountSource::Bind {
                path: host_path(&path)?,
                propagation: propagation.map(|p| p.as_str().to_owned()),
                selinux: selinux.map(|s| if matches!(s, Selinux::Own) { "Z" } else { "z" }.to_owned()),
                create_host_path: create_host_path.unwrap_or(false),
            }
        }
        (MountType::Tmpfs, Some(_)) => {
            return Err("a tmpfs is memory and has no `source`; leave it out".to_owned());
        }
        (MountType::Tmpfs, None) => {
            let TmpfsOptions { size, mode } = tmpfs.unwrap_or_default();
            let mode = mode.map(|Scalar(text)| octal(&text)).transpose()?;
            MountSource::Tmpfs { size, mode, options: None }
        }
    };
    Ok(Mount { target: target(&path)?, source, read_only: read_only.unwrap_or(false) })
}

/// Permission bits. A plain number would be octal to one reader and decimal to the next, so it needs its 0.
fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
    digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()).filter(|mode| *mode <= 0o7777).ok_or_else(
        || format!("mode {text:?}: write permission bits in octal with a leading zero, like 0755"),
    )
}

/// `tmpfs`, one or a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct TmpfsEntries(pub Vec<Mount>);

struct TmpfsEntry(Mount);

impl<'de> Deserialize<'de> for TmpfsEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        memory(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for TmpfsEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = TmpfsEntries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TmpfsEntries, E> {
                Ok(TmpfsEntries(vec![memory(text).map_err(E::custom)?]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TmpfsEntries, A::Error> {
                let mut mounts = Vec::new();
                while let Some(TmpfsEntry(mount)) = items.next_element()? {
                    mounts.push(mount);
                }
                Ok(TmpfsEntries(mounts))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

impl JsonSchema for TmpfsEntries {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tmpfs".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let path = serde_json::json!({"type": "string", "pattern": "^/."});
        json_schema!({"oneOf": [path, {"type": "array", "items": path}]})
    }
}

/// `path[:options]`.
fn memory(text: &str) -> Result<Mount, String> {
    let (path, words) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut read_only) = (None, None, false);
    let mut rest = Vec::new();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("size", value)) => {
                size = Some(value.parse().map_err(|e: crate::quantity::QuantityError| e.to_string())?)
            }
            // Mount options are octal by their own custom.
            Some(("mode", value)) => mode = Some(octal(&format!("0{value}"))?),
            _ if word == "ro" => read_only = true,
            _ if word == "rw" => {}
            _ => rest.push(word),
        }
    }
    let options = (!rest.is_empty()).then(|| rest.join(","));
    Ok(Mount { target: target(path)?, source: MountSource::Tmpfs { size, mode, options }, read_only })
}
