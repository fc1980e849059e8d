//! Tables of what is decided when.

mod admission;
mod hosts;
mod parts;
mod status;
mod told;
