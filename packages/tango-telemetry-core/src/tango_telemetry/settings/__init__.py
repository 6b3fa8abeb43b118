"""Settings: the variables, the frozen model of their values, and what is left out."""
