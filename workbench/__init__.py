"""A workbench for small multilingual language models in every official and future EU language.

Importing the package is cheap: heavy libraries are loaded by the modules that need them. Programs
and notebooks begin with ``from workbench import commands``.
"""

__version__ = "0.1.0"
