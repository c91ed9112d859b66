"""Measurements of fastnet: beside other trainers, op by op, and beside the machine's limits.

It runs from a checkout (``python -m bench``) and is no part of the installed package.
"""
