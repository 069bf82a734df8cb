"""What single modules take, in nanoseconds per operation, in plain Python and compiled.

`cases` has an operation or more for each module that is compiled, `worker` times them in one process, `__main__` runs
workers of both kinds in turns and compares. A module whose cases do not get faster need not be compiled.
"""
