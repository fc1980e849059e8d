//! What a network and its parts are called on a host.

use evenkeel_api::name::NetworkName;

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
        format!("ek-{:012x}", digest(network.as_str()) & 0xffff_ffff_ffff)
    }
}

/// A short digest that is the same for every build (FNV-1a): it lasts in device names and rule marks, for
/// which the standard library's hasher gives no promise.
pub fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
