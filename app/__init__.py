"""Entry points and the composition root: HTTP, jobs and command line.

Knows every room below and the configuration; nothing imports it.
"""
