"""The zygote's process and the child's: fork, confinement, boot. Nothing else of this package imports it."""
