"""The course that the lessons make: each in every language, and as a site that needs no lab."""
