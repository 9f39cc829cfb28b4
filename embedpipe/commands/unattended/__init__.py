"""Work that nobody waits beside: `watch` takes files as they come, `run` does the steps of a job file.

Input: a folder, or a file of tables that are commands with their options. Output: a line for each file, or what each
command prints, and exit codes as the commands'. `steps` lists which commands a job file may hold.
"""
