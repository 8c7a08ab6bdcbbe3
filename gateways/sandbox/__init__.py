"""A stand-in for WeChat Pay that speaks its real wire: a product part for demos, tests, simulation and benchmarks.

Knows the channel's side of the wire; must not know our book. Runs as an application of its own; no production
room imports it.
"""
