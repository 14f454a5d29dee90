"""``python -m client``: the command line where no console script is installed."""

from client.cli import main

if __name__ == "__main__":
    main()
