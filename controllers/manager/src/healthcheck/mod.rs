//! The healthcheck controller.
