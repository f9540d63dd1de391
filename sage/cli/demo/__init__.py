"""``sage demo``: two agents, two processes and a registry, and three attackers.

`stage` sets it all up in a temporary folder and takes it down again, `children` runs
the other processes, `attacks` tries what must not work, `command` tells the story.
"""

from .command import demo

__all__ = ["demo"]
