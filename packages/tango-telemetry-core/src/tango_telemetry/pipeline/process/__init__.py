"""The life of the process: exit, signals, forks and the watchdog."""
