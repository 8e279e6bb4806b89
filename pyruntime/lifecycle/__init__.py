"""A container's life: what a command, or a Python program, does with one, from create to delete.

The functions take typed parameters, raise Failure, and know of no command line. `root` is the directory with the state
of containers.
"""
