//! What the instance controller of a host decides.
