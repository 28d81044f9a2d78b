"""What `bin/up` may be told. Read before anything is installed, so of the standard library alone."""

import argparse
from collections.abc import Sequence


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Ends the process with what `--help` says, and with what is wrong."""
    parser = argparse.ArgumentParser(prog="bin/up", description="Run all of Countersign on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="where the site answers (8000)")
    parser.add_argument("--data", metavar="DIR", help="where everything is kept (COUNTERSIGN_DATA, else var/)")
    parser.add_argument("--reset", action="store_true", help="delete all data first")
    parser.add_argument("--no-demo", action="store_true", help="no demo people, agents and figures")
    return parser.parse_args(arguments)
