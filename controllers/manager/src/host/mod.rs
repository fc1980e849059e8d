//! The host controller.
