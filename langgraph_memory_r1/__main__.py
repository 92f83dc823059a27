"""`python -m langgraph_memory_r1`: the `memory-r1` command."""

from langgraph_memory_r1.cli import main

if __name__ == "__main__":
    main()
