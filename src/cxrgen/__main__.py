"""`cxrgen` and `python -m cxrgen`, and so `torchrun ... -m cxrgen train ...`."""

import atexit
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules are being imported there is nothing to clean up

from cxrgen.cli import main  # noqa: E402


def start() -> int:
    """Run the command line as the whole of this process; returns its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        # torch.distributed.nn and DTensor's caches keep a closed connection's threads to the end of the interpreter,
        # and there these threads now and then abort a process that has done its work. So it is not taken down.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(start())
