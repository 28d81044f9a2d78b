"""`python -m simulators --port 8001`: stand-ins for outside systems over real HTTP. See docs/gateways.md."""

import argparse
import socket
import sys
from pathlib import Path

import uvicorn

from simulators.server import Simulators


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0: any free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--journal", type=Path, help="a file to which a line is added for each call and each answer")
    asked = parser.parse_args()
    try:
        listener = socket.create_server((asked.host, asked.port), backlog=512)
    except OSError as error:
        sys.exit(f"Cannot listen on {asked.host}:{asked.port}: {error.strerror}. Choose another --port.")
    sys.stdout.write(f"Simulators on http://{asked.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(Simulators(asked.journal), log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


main()
