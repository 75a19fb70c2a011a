"""What model code prints, and to which prediction it belongs. Runs in the child; the worker uses `source_paths`
only.
"""
