"""Pure functions that turn a config, the host, the cgroup's place and the caller's wishes into steps of a plan."""
