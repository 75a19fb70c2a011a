"""Instances from the command to the end of their process: boots, what a child is given, who listens to and watches it.

What an instance is to its runs (`Instance`) belongs to `runs`: it takes them, and is told here when to begin and stop.
"""
