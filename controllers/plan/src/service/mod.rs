//! What the service leader decides.
