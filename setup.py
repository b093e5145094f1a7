"""Packaging of chainp2p; the metadata is in ``pyproject.toml``.

``package_dir={"": "."}`` makes an editable install a static path entry instead of an import hook, which
Twisted's plug-in walker cannot see; ``twisted.plugins`` is listed by hand because it is no package of ours
(there must never be an ``__init__.py`` below ``twisted/``).
"""

from setuptools import find_packages, setup

setup(
    package_dir={"": "."},
    packages=[*find_packages(include=["chainp2p", "chainp2p.*"]), "twisted.plugins"],
)
