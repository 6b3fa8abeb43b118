"""Traces of files in the terminal and in the browser."""
