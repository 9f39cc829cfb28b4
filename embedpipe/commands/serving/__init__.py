"""`serve`: the page that people work at, and the REST service.

Input: options. Output: the address, and a server until Ctrl-C. What is served is in the room `web`.
"""
