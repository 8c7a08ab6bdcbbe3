"""Where channels' notices arrive: judged, committed in groups, and only then acknowledged. ``tongting callbacks`` is its process.

    serve      the process
    doors      the open port
    exchange   one connection: requests in, answers out
    gate       is it genuine, and whose turn is it
    committer  a group of notices, one transaction

Knows HTTP and the applier; must not know any channel's wire or what a notice means. Source: docs/adr/0008.
"""
