"""A server over the artifacts: the page that people work at, and the same as a REST service for programs.

Input: settings, and requests. Output: JSON with the keys of the command line, pictures, and problem details (RFC 9457).
Everything is done by tasks; nothing is kept here but jobs, uploads and what can be computed again, below `serve/` in
the artifacts. Addresses are in `routes`, jobs in processes of their own in `working`, what the page consists of in
`static`; who may ask what is decided in `guard` alone.

Other rooms use `serving`, `settings`.
"""
