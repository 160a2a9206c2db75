"""One Daphne instance: Daphne's own server, with a drain, bounded buffers, and word to systemd."""
