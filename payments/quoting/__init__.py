"""Prices for a moment 询价: what a plate has to pay at a lot now, by what is known or by asking the lot's own system.

Knows charges and tokens; must not know pages or the wire of a lot. Called by the pages.
"""
