"""What people read in their own language: the catalogues, who reads which one, and stored English put into it.

English is what the program writes and stores; other languages are made when something is read. A text without a
translation appears in English, so that nothing is ever lost for a missing one. Commands and log lines stay English.
"""
