"""From a config and the facts of the host to a plan: pure functions that return steps and make no system call."""
