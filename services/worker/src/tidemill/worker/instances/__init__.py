"""Instances from the scheduler's command to the end of their process: boot, child connection, monitor, cleanup.

What an instance is to its runs is in `runs/instance.py`.
"""
