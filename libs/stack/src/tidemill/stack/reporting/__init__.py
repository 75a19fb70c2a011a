"""What the person who runs `up` is told: progress lines, the summary, and both ends of a detached start."""
