//! What the answers of probes mean.
