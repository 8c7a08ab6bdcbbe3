"""ETC parking payment 电子收费: the transaction record and its code, our profile WXETC-1, the Jiangsu XML in TCP, their files.

Knows docs/ETC.md; must not know network, clock, database or settings.
"""
