"""Drives the real halofs binary: servers, signed requests, crash oracle, loop devices, result counting."""
