"""UnionPay's stand-in: gateway, cashier, merchant console and clearing files, with a chain of certificates of its own."""
