"""Every statement that writes `prediction`. Services call these functions and write the table nowhere else.

The guards come from the table of transitions in `contracts.prediction`; one module holds one group of verbs.
"""
