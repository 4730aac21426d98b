"""`python -m fastgate`."""

from fastgate.cli import main

main()
