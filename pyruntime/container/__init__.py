"""Containers as the host sees them: the state directory, the status that the kernel reports, and the cgroup."""
