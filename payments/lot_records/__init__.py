"""What lots' own systems bring 车场上报: stays, openings, takings, heartbeats, one or ten thousand at once, and what is missing.

Knows lots, plates and the book; must not know channels or HTTP. Called by the API, the command line and the worker.
"""
