"""`python -m oversold`: the same command where the script is not on PATH."""

from oversold.cli import main

if __name__ == "__main__":
    main()
