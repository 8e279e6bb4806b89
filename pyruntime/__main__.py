"""`python -m pyruntime`: the same command, as far as it enters no container: the binary of Python is not protected."""

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
