"""Instances from the command to the end of their process: boots, what a child is given, who listens to and watches it.

What an instance is to its runs stands in `runs.instance`; here it is made ready, and taken away.
"""
