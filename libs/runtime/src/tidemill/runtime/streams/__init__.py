"""The JetStream streams beyond publishing: URLs of live output, removal of messages, and each account's share."""
