"""Recovery incentive 合作欠费追缴激励: who owned a debt, who recovered it, and what the one owes the other.

Begin reading at ``following``. Knows debts' payments and the book; must not know channels, pages or HTTP.
Source: docs/INCENTIVE.md.
"""
