"""Trained adapters: found, loaded, used, exchanged with peft, served side by side."""
