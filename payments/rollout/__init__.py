"""The way to one code: codes that lots had before, what is required of whom from when on, who is where, and codes that look wrong.

Knows lots, takings and the published views of payments; must not know channels' wire or HTTP. Called by the API, the command line,
the pages and the worker. Source: 锡政办发〔2025〕12号 §二(四).
"""
