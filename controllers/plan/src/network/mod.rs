//! What the network controllers decide.
