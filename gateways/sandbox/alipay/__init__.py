"""Alipay's stand-in: gateway, cashier, merchant's console, parking agreements, notices, bills."""
