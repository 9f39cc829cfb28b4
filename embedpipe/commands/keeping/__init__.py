"""Commands about what is kept and what runs it: artifacts, indexes, exports, moving to other machines, this machine.

Input: options, as the commands beside this room take them. Output: what a task did, printed by `base`. A command that
answers a question about documents lies in the room above.
"""
