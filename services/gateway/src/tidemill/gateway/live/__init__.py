"""What happens right now, to those who listen: output as server-sent events, webhooks to developers."""
