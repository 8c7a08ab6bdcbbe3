"""Discounts 优惠: what shops, the city or an operator take off stays, by validating cars or by coupons, and who bears it.

Begin reading at ``stacking``, then ``effects``. Knows offers, charges and borne parts; must not know channels, pages or HTTP.
Source: docs/DISCOUNTS.md.
"""
