"""Channels 支付渠道: their wire, keys, routes and the only network input and output.

Knows the ledger's kernel (money, ids, clock, errors, db); must not know stays, charges or pages.
"""
