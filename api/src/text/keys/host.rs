//! The keys of a Host.

use super::{Row, honoured, refused};

pub(super) const ROWS: [Row; 6] = [
    honoured("address", "the host's address on the LAN, by which its peers reach its containers"),
    honoured("availability", "`active` (when absent), `pause` or `drain`"),
    honoured("reserved", "kept back for the machine itself"),
    honoured("reserved.cpus", ""),
    honoured("reserved.memory", ""),
    refused("labels", "labels of a Host stand in its metadata", "write `metadata.labels`"),
];
