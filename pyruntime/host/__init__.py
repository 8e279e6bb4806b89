"""Probes the host and what this process may do on it. No other package does; it changes nothing."""
