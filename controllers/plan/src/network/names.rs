//! What a network and its parts are called on a host.

use evenkeel_api::name::NetworkName;

use crate::fnv::fnv1a;

/// The longest name that the kernel takes for a device.
const DEVICE_NAME: usize = 15;

/// Whose it is, on everything of ours in an engine.
pub const LABEL_CLUSTER: &str = "evenkeel.cluster";
/// Which network of ours an engine's network is.
pub const LABEL_NETWORK: &str = "evenkeel.network";
/// The host's part, on its engine network: so that rules can be kept for a network whose record is gone.
pub const LABEL_SUBNET: &str = "evenkeel.subnet";

/// The engine's name of a network.
pub fn engine_name(network: &NetworkName) -> String {
    format!("ek-{network}")
}

/// The bridge device of a network: its engine name where that fits, else a digest of it.
pub fn bridge_name(network: &NetworkName) -> String {
    let name = engine_name(network);
    if name.len() <= DEVICE_NAME {
        name
    } else {
        format!("ek-{:012x}", fnv1a(network.as_str().bytes()) & 0xffff_ffff_ffff)
    }
}
