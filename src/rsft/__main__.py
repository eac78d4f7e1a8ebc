"""`python -m rsft`."""

from rsft.cli import main

main()
