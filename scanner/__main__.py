"""`python -m scanner` is `consentry`."""

from scanner.cli import main

if __name__ == "__main__":
    main()
