"""T+1 and later 对账: channel bills, matching, statements.

Knows everything below through published views and contracts; must not know HTTP or pages.
"""
