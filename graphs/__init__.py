"""Example graphs to copy: each file stands alone, uses only public names, and is served by `langgraph dev`."""
