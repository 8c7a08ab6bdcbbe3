"""What was wrong is put right 更正: credit notes with new bills, and plates that were misread, change hands or are forgotten.

Knows charges, debts, refunds and the book; must not know HTTP. Called by the API and the command line.
"""
