"""The commands: one module per family; each function takes the parsed options and returns the exit status."""
