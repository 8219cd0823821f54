"""Video files as the tests of several rooms look at them."""

import io

import av
import numpy


def reloaded(data):
    """(frames (F, H, W, 3), frames per second) of an MP4."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate
