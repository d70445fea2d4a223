"""Code that every part of the suite uses: errors, whole files, processes, resources, seeds, provenance."""
