"""What the scheduler does with what it hears, sees and decides."""
