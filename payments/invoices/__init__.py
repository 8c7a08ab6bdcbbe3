"""What a payer has after paying: the receipt, and the invoice 数电发票 or fiscal receipt 财政票据 of the operator.

Knows payments, refunds and issuers' words; must not know HTTP or how any issuer works. Called by the pages, the worker and the
command line.
"""
