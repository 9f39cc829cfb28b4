"""The addresses of the server: what each takes, and what it answers; the work is done by tasks, the desk and jobs.

Input: requests, which `guard` has let pass. Output: JSON with the keys of the command line. Numbers are put into their
range; what cannot be understood is a problem.
"""
