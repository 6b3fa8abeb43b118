"""The version of the product, of which all packages have the same; ``tools/set_version.py`` writes it into the others."""

VERSION = "0.1.0"
