"""What holds for every test."""

import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
