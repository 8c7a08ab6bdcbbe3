"""Simulated city days 模拟日: cars stay or leave first, people pay, channels misbehave, and the books are proven at the end.

Knows the product by its doors only: pages, API, the channel stand-in, control routes; the end is read from the database.
Called by ``tongting day``.
"""
