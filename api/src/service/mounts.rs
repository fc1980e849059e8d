//! What a container has mounted.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::name::ObjectName;
use crate::quantity::Bytes;

/// One thing that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, an absolute path in the container.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Not writable.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MountSource {
    /// A named volume, of the namespace: the engine's volume is `<namespace>.<name>`.
    Volume {
        /// The volume's name in its namespace.
        name: ObjectName,
        /// Do not copy the image's files into a new volume.
        #[serde(default, skip_serializing_if = "is_default")]
        nocopy: bool,
    },
    /// A volume without a name, that ends with its container.
    Anonymous,
    /// A path of the host; needs the host policy's leave. Must exist.
    Bind {
        /// An absolute path on the host.
        path: String,
        /// `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        propagation: Option<String>,
        /// SELinux relabelling, `z` or `Z`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selinux: Option<String>,
        /// Make the directory where it is missing.
        #[serde(default, skip_serializing_if = "is_default")]
        create_host_path: bool,
    },
    /// Memory.
    Tmpfs {
        /// The size limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<Bytes>,
        /// Permission bits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// Further options of the short form, like `noexec,nosuid`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        options: Option<String>,
    },
}
