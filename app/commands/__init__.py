"""What a person of the platform enters, lists and decides at the command line, a module for each desk.

Knows arguments, words and tables; must not know SQL or channels. Called by ``app.cli`` alone.
"""
