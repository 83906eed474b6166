"""`python -m rnn_research.compare`, as `rnn-compare`."""

import sys

from rnn_research.compare import main

if __name__ == "__main__":
    sys.exit(main())
