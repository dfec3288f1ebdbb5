"""Kits: releases carried by hand to devices without network."""
