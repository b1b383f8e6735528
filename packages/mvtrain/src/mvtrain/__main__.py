"""`python -m mvtrain`."""

from mvtrain.cli.app import main

main()
