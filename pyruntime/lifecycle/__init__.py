"""A container's life, from create to delete, as operations for the commands and for Python programs.

The functions take typed parameters, raise Failure, and know nothing of the command line. `root` is the directory that
holds the state of the containers.
"""
