//! One driver a controller, and their wiring
