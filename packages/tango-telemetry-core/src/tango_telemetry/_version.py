"""The version of all packages; ``tools/set_version.py`` writes it here and into every ``pyproject.toml``."""

VERSION = "0.1.0"
