"""``python -m server`` is the command ``kongzhong``."""

from server.app.cli import main

if __name__ == "__main__":
    main()
