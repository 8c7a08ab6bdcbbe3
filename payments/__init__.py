"""What the citizen pays 缴费: pay codes, charges, orders, payments and the only applier of channel results.

Knows the ledger and the gateways' contract; must not know HTTP routes, pages or reconciliation.
"""
