"""Debt files 欠费案卷: everything about a plate's debts to one operator, as a court needs it, in one PDF and one ZIP.

Knows debts, evidence, entries and proofs; must not know HTTP. Called by the command line; ``files.make`` is its one act.
"""
