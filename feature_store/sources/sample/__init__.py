"""The sample shop: a made-up shop of any size whose truth is known to its generator alone."""
