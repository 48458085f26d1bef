"""``kongzhong bench``: the figures that the project promises, each against a floor or a limit of the same run."""
