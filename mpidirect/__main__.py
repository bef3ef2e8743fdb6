"""``python -m mpidirect``: the command line."""

from mpidirect.cli import main

main()
