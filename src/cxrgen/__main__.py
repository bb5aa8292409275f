"""`python -m cxrgen`, and so `torchrun ... -m cxrgen train ...`."""

import sys

from cxrgen.cli import main

sys.exit(main())
