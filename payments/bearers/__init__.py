"""Bearers 优惠承担方: who pays parts of stays in place of drivers, and what they owe for it.

Begin reading at ``parts``, then ``following``. Knows borne parts, charges' entries and the book; must not know why a part is borne,
nor channels, pages or HTTP. Source: docs/SPLITS.md.
"""
