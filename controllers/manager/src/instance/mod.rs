//! The instance controller.
