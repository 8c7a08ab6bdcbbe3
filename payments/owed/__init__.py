"""Debts 欠费: how a car leaves first, what its plate then owes, and how that is chased, disputed, let off and proven.

Knows charges, plates, lots and the book; must not know channels or HTTP. Called by every entry point in ``app``.
"""
