"""Money without a hand 免密扣费: cars announced to channels, the deduction when they leave, and its later tries.

Knows charges, plates and the channels' contract; must not know any wire. Called by departures, the worker and the applier.
"""
