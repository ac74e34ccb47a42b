"""What crosses between the grader and a student's process: JSON and safetensors, nothing else.

Frames are frames.py's, the values in them wire_values.py's. Both sides import this module; only
the grader's side is believed.
"""

from autograder.frames import HEADER as HEADER
from autograder.frames import MAX_DOCUMENT_BYTES as MAX_DOCUMENT_BYTES
from autograder.frames import MAX_FRAME_BYTES as MAX_FRAME_BYTES
from autograder.frames import Message as Message
from autograder.frames import WireError as WireError
from autograder.frames import read_frame as read_frame
from autograder.frames import write_frame as write_frame
from autograder.wire_values import Join as Join
from autograder.wire_values import Resolve as Resolve
from autograder.wire_values import decode as decode
from autograder.wire_values import encode as encode
