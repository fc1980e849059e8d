//! Health probes: http, tcp, exec
