"""`python -m smdae`, and the `smdae` command."""

import sys

from smdae.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
