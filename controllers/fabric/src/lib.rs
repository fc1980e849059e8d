//! The host network: bridges, routes and firewall, and its fake
