"""UnionPay: ACP gateway 5.1.0 and QR. Wire forms, signatures, the EMV payload of static codes, clearing files.

Knows the channel's documents; must not know network, clock, database or settings.
"""
