"""`python -m pyruntime`: the same command without the launcher's protection of the binary; for development."""

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
