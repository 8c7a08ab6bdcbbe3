"""The Jiangsu interface between clearing party and network centre 联网中心: packing, frames, XML messages.

Knows docs/ETC.md, sections 5 to 7; must not know network, clock, database or settings. Maps to the same neutral records as WXETC-1.
"""
