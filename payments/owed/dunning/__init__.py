"""Dunning 催缴: reminders of debts, step by step, with proof of sending. Its acts are ``planning.plan`` and ``sending.send_due``.

Knows debts, rules, contacts and texts; must not know HTTP. Called by the worker and the command line. docs/DUNNING.md explains it.
"""
