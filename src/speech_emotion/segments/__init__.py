"""Given stretches of a recording. In: a file of segments that another program wrote. Out: Segments in order of time."""

from speech_emotion.segments.reader import read_segments
from speech_emotion.segments.segment import Segment, in_order

__all__ = ["Segment", "in_order", "read_segments"]
