"""The directory of one stack (TIDEMILL_HOME): its layout, its lock, what it remembers, and the size of its logs."""
