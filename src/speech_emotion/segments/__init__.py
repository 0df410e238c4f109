"""Given stretches of a recording. In: a file of segments that another program wrote. Out: Segments in order of time.

`reader` reads all formats, and is imported only for a file.
"""

from speech_emotion.segments.segment import Segment, in_order

__all__ = ["Segment", "in_order"]
