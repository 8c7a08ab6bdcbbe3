"""Refunds 退款: promised in the book, asked of the channel, carried out by the one applier.

Knows payments and the book; must not know any wire or HTTP. Called by the applier, the API, corrections and the worker.
"""
