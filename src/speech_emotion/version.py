"""The version of this package, which the build reads from here."""

__version__ = "0.1.0"
PROGRAM = f"speech-emotion {__version__}"  # how files name what wrote them
