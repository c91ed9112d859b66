"""The command ``fastnet``; ``python -m fastnet`` is the same."""

from fastnet.interrupts import ending_at_once


def main() -> None:
    """Run the command line; never returns."""
    try:
        with ending_at_once():
            from fastnet.cli import main as run
    except MemoryError:
        raise SystemExit("fastnet: memory ran out while it started") from None
    run()


if __name__ == "__main__":
    main()
