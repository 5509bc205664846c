"""Entry point of `python -m slopeward`, the same as the command `slopeward`. The wheel contains it at its top level."""

from monitor.cli.main import main

if __name__ == "__main__":
    main()
