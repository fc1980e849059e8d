//! The network controller.
