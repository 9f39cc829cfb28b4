"""Files that hold documents: archives, compressed files, mails and mailboxes, also in one another.

Input: the path of a file, or of a member in one, as `mail.eml!/scan.zip!/a.pdf`. Output: members one after the other,
or the content of one of them in a file without a name. Nothing is ever written to where the name of a member leads.
"""
