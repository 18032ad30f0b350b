"""Work given to other processes, on this machine or on others, through dask.distributed."""
