"""What a model's directory declares: cog.yaml and its requirements, read and validated. Runs nothing."""
