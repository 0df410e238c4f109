"""`python -m speech_emotion` is the command `speech-emotion`."""

from speech_emotion.cli import main

main()
