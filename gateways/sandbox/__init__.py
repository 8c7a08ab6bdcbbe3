"""Stand-ins for the channels that speak their real wires: a product part for demos, tests, simulation and benchmarks.

One folder per channel; what all share stands here. Knows the channels' side of the wire; must not know our book. Runs as an
application of its own; no production room imports it.
"""
