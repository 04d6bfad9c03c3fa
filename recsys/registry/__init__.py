"""The model registry: versions of complete bundles, their artefacts and their names."""
