"""From a config, the host, the cgroup's place and the caller's wishes to a plan: pure functions that return steps."""
