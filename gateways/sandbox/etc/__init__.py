"""The stand-in for an ETC clearing party: WXETC-1 over HTTP, and the Jiangsu dialect over TCP."""
