"""A page to try dial-outs on: "Call me" and "Add somebody", in one meeting.

It does what a meeting's own web back end does, and by the same way: over the gateway's HTTP API,
whose token it keeps to itself. What a browser gets is a session of one participant.
"""

from gateway.console.meeting import Meeting, Participant, SampleNumber
from gateway.console.service import create_console
from gateway.console.upstream import Upstream

__all__ = ["Meeting", "Participant", "SampleNumber", "Upstream", "create_console"]
