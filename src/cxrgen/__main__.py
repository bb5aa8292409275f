"""`python -m cxrgen`, and so `torchrun ... -m cxrgen train ...`."""

import atexit
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules are being imported there is nothing to clean up

from cxrgen.cli import main  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)
code = main()
if int(os.environ.get("WORLD_SIZE", 1)) > 1:
    # torch.distributed.nn and DTensor's caches keep a closed connection's threads to the end of the interpreter, and
    # there these threads now and then abort a process that has done its work. So the interpreter is not taken down.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
