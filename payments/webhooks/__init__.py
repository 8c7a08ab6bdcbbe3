"""Webhooks 事件推送: events of the outbox are pushed to the systems of lots and operators, at least once, in order per charge.

subscriptions   who gets which events where, entered and changed by its owner
secret          what messages are signed with, as it is shown, kept and used
message         the bytes and headers of a message (Standard Webhooks)
fan_out         which event goes to whom: from the outbox into the line of deliveries
schedule        what follows from an answer: delivered, tried again later, parked
delivery        claim, send, record; once, or for as long as a worker runs
replays         asked for again
invariants      what must hold between events and deliveries
"""
