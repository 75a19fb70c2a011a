"""The cog module that models import; standard library only."""
