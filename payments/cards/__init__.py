"""Charges by card 刷卡: a lane's record is taken, sent in a package, booked or disputed by the issuer, and cleared.

Knows the neutral records of ETC (``gateways.etc.record``, ``gateways.etc.clearing``) and no wire: packages leave by an uplink, and
what the clearing party says comes as structures. A card charge is a payment like any other, on its way until its issuer has
decided.
Source: docs/ETC.md, sections 3, 4, 7 and 9.
"""
