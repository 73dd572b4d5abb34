"""iapt: reproduce, check and extend "IAPT: Instruction-Aware Prompt Tuning" (ACL 2024)."""

__version__ = "0.1.0"
