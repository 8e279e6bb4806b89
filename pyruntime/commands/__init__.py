"""The commands, one module per family. Each function takes the parsed options and returns the exit status."""
