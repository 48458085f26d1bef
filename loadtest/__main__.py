"""``python -m loadtest``: the same as ``kongzhong loadtest``."""

from loadtest.command import loadtest

if __name__ == "__main__":
    loadtest()
