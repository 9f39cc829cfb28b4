"""Jobs: work that takes longer than a request, each in a process of its own, and what became of it.

Input: what is wanted, as JSON. Output: a record of each job that outlives the server. A further kind of job is a
function in `kinds`.
"""
