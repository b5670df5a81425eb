"""torchrun, as started by danlu: it prints nothing about signals."""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.run import main

if __name__ == "__main__":
    try:
        main()
    except SignalException as asked:
        sys.exit(128 + asked.sigval)
