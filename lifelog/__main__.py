"""`python -m lifelog` is `lifelog`."""

from lifelog.cli import main

if __name__ == "__main__":
    main()
