"""One stay, several payees 分账: dated rules that cut a charge before anybody pays.

Knows lots, operators and charges; must not know channels or HTTP. Called by ``payments.charges`` and the command line.
"""
