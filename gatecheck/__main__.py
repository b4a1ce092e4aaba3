"""``python -m gatecheck``."""

from gatecheck.cli import main

if __name__ == "__main__":
    main(prog_name="gatecheck")
