"""`python -m edgefer` is `edgefer`."""

from edgefer.cli import main

main()
