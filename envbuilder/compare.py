"""`python -m envbuilder.compare OURS THEIRS`: envbuilder.audit.compare as a command."""

from envbuilder.audit.compare import main

if __name__ == "__main__":
    raise SystemExit(main())
