"""Jobs of a study: run locally or on Dask, checkpointed, resumable to the bit."""
