"""Where jobs run: this machine, or the workers of a Dask cluster.

capabilities   what a runner has, and what it lacks of what a job needs
parcel         what crosses: JSON text and named files, nothing else
runner         the protocol, and which runner gets a job
process        at the runner: one fresh process per job
job            what that process does
grading        the job `grade`: one sealed submission to its evidence, asked and answered
kept           the baseline, measured once per class run and machine
local          this machine
cluster        Dask
resources      capabilities in the words of Dask
choice         the runners that a command line asks for
parallel       a class of submissions on runners
"""
