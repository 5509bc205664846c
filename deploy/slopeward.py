"""`python -m slopeward`: the same as the command `slopeward`. The wheel alone holds this module, at its top."""

from monitor.cli.main import main

if __name__ == "__main__":
    main()
