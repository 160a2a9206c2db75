"""What holds for every test."""

import signal

import hypothesis

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example may take says how busy the computer is.
hypothesis.settings.register_profile("stacklab", deadline=None)
hypothesis.settings.load_profile("stacklab")
