"""``python -m isocline`` is the command ``isocline``."""

import sys

from isocline.cli import main

if __name__ == "__main__":
    sys.exit(main())
