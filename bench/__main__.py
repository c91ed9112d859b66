"""``python -m bench``; worker processes load this file, too, and run nothing of it."""

from bench import checkout

if __name__ == "__main__":
    checkout.require_packages()

    from bench.app import main

    main()
