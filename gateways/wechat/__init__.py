"""WeChat Pay APIv3, service-provider mode: wire forms, signatures, bills and the adapter that joins them.

Knows the channel's documents; must not know network, clock, database or settings.
"""
