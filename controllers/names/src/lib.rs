//! The DNS server
