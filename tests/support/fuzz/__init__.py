"""A fuzz of configs: engines' own ones with seeded changes, each created, started and deleted on a real kernel.

`cases` makes a case from a seed and a number, by the mutations of `anywhere` (any value of the document) and of the
subjects, each by its own rules: `mounts`, `namespaces`, `process`, and what is `around` it. A case is data: the name
of a config, and a list of edits (`edits`). `guard` keeps what is made from touching the machine; `place` is where it
runs: namespaces of its own. `driver` runs the cases, `look` and `look_files` compare a container with what was asked
for, and `jobs` is the tests' side.
"""
