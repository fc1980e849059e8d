//! End-to-end, parity, scenario and simulation tests
