"""The listening side of the province's line: the network centre's messages come in over TCP, our answers go out.

    taking.py   what a message is, who may say it, what follows: evidence, deed and answer in one transaction
    server.py   connections: who, how many, how long, how much
    serve.py    server and sender as threads of the worker, or by themselves

Source: docs/ETC.md, sections 5 to 7 and 11.
"""
