"""The readers, one file per corpus or publication. In: a path. Out: its Clip."""
