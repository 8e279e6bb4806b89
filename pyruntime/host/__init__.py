"""What this host is and what this process may do on it: the only place that asks. It makes nothing."""
