"""The formats of manifests, one module each, exposing MANIFEST
(`scanner.context.sources.ManifestFormat`).

The registries are read by the same modules. This folder is walked in the order of names.
"""
