"""Where Debian 12's runc and crun are known to differ from what the tests ask of a runtime.

The tests also run against these peers, to test the tests (PYRUNTIME_BIN=/usr/sbin/runc). What a peer does otherwise,
by choice or by fault, stands here with the reason; for pyruntime this table is never read. An entry that no longer
fails is itself a failure (strict), so the table stays true for the versions named below.
"""

import fnmatch
from collections.abc import Iterator

import pytest

from support import paths

VERSIONS = {"runc": "1.1.5", "crun": "1.8.1"}

# test (file::function, or with [parameter]; * and ? as in file names) -> why
RUNC: dict[str, str] = {}
CRUN: dict[str, str] = {}

TABLES = {"runc": RUNC, "crun": CRUN}


def marks(item: pytest.Item) -> Iterator[pytest.MarkDecorator]:
    """Yield the expected failures of the peer under test for a test."""
    if paths.PEER is None:
        return
    name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
    for pattern, reason in TABLES[paths.PEER].items():
        if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")):
            yield pytest.mark.xfail(reason=f"{paths.PEER} {VERSIONS[paths.PEER]}: {reason}", strict=True)
