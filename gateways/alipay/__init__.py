"""Alipay OpenAPI: wire forms, signatures, certificates and bills of the v1 gateway.

Knows the channel's documents; must not know network, clock, database or settings.
"""
