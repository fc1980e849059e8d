//! The Docker engine adapter and its fake
