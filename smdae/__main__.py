"""`python -m smdae`, and the `smdae` command."""

import signal
import sys

from smdae.cli.app import main as run


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = run()
    # The command is done: Ctrl-C while the interpreter shuts down ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    main()
