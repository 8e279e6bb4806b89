"""Faults at every step: a program that runs the runtime's commands in children of its own and breaks one step in each.

`driver` is that program; it needs nothing of the product but that it can be imported. `inject` wraps what the product
calls, `world` sees what is left afterwards, `cases` says what must come out of a fault, `jobs` is the tests' side.
"""
