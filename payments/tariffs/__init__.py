"""Tariffs 计费规则: what a stay costs at a lot that has no pricing of its own, and why.

Knows tariffs, lots and plates; must not know charges, payments or HTTP. Begin reading at ``tariff`` (the data), ``pricing`` (pure),
``quotes`` (with the database). Called by the API and the command line; docs/TARIFFS.md says what each published sentence became.
"""
