"""Side-by-side runs against other libraries and against the papers; not part of the package."""

import os

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # read when numpy is imported; they can choose a slow kernel
    os.environ.pop(_name, None)
