"""Runs a module as `python -m` does, but no longer than the process that holds the leash.

`python -m harmony_pipelines.leash <descriptor> <module> <arguments>`: the descriptor is the reading
end of a pipe. When the last writer is gone, also by `kill -9`, the module is told to end.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the module that the command line names."""
    _, descriptor, *sys.argv = sys.argv
    threading.Thread(target=_end_with, args=(int(descriptor),), daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
