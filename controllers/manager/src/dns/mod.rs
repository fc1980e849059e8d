//! The dns controller.
