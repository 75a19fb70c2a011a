"""What wheels put on the disk: judged by their lists of files before they are unpacked, and watched while they are."""
