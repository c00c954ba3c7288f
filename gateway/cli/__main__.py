"""``python -m gateway.cli``: the same command, for a process that has no PATH."""

from gateway.cli import main

main()
