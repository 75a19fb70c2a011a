"""The worker's side: starts zygotes, talks with children and kills them. Never imports what runs in a child."""
