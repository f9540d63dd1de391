"""Benchmarks, one file a room. Each runs on both kernels; see asv.conf.json.

Today's benchmarks also run on old commits, to fill the history. What was not there yet
is asked for with `house.needs`, in ``setup``, so that asv marks it as not available.

``version`` stands in every file: asv drops the results of another version. Raise it by
hand when a change makes figures before and after it two different things.

``timer`` is the processor time of the process where one thread works in memory: what
else the machine does then counts for less. Where sockets wait it is the wall clock.
"""
