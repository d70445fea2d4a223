"""The public Python API: what ``import lt_bench as lt`` offers. Nothing here prints, and nothing is written but where a directory is named.

Runs are kept in memory: their records and numbers are those that ``lt-bench run`` would record for the same seeds.
"""
