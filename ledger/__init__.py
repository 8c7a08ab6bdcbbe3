"""The book 总账: money, accounts, entries, seals.

Knows no HTTP, QR code, channel or parking. Called by every room above.
"""
