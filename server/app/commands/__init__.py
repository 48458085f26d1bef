"""One file for each subcommand of ``kongzhong``; loaded when called."""
