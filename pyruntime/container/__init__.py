"""Containers as they are on the host: the state directory, the status the kernel tells, the cgroup."""
